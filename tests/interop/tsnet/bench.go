// The baseline: what two tsnet nodes in one process need over a direct path on loopback. `rig -bench` prints one JSON object; what
// is measured beside it must be measured in the same way: CPU of both ends (getrusage of the whole process), one TCP stream, bytes
// sent and hashed by nobody.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const pings, warm = 4000, 200

type result struct {
	What        string    `json:"what"`
	Go          string    `json:"go"`
	MB          int       `json:"mb"` // 10^6 bytes of each round
	CPUPerGB    []float64 `json:"cpu_s_per_gb"`
	GbitPerS    []float64 `json:"gbit_s"`
	P50us       []float64 `json:"pingpong_64_p50_us"`
	UpMs        []float64 `json:"up_ms"`
	IdlePeers   int       `json:"idle_peers"`
	IdleRSS     int       `json:"idle_rss_kb"`
	IdlePrivate int       `json:"idle_private_kb"`
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func benchmark(r *rig, megabytes, rounds, peers int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out := result{What: "tsnet, two nodes in one process, loopback, direct path", Go: runtime.Version(), MB: megabytes, IdlePeers: peers}
	if _, err := r.startServers(ctx, &command{}); err != nil {
		return err
	}
	for _, name := range []string{"alpha", "beta"} {
		o, err := r.startNode(ctx, &command{Name: name})
		if err != nil {
			return err
		}
		out.UpMs = append(out.UpMs, float64(o["ms"].(int64)))
	}
	alpha := r.nodes["alpha"]
	if _, err := r.listen(ctx, &command{Node: "beta", Port: 7, Mode: "bench"}); err != nil {
		return err
	}
	if _, err := r.ping(ctx, &command{Node: "alpha", To: "beta", Want: "direct"}); err != nil {
		return err
	}
	if err := bulk(ctx, alpha, 32, &result{}); err != nil { // warm
		return err
	}
	for range rounds {
		if err := bulk(ctx, alpha, megabytes, &out); err != nil {
			return err
		}
		if err := pingPong(ctx, alpha, &out); err != nil {
			return err
		}
	}
	if o, err := r.ping(ctx, &command{Node: "alpha", To: "beta"}); err != nil || o["path"] != "direct" {
		return fmt.Errorf("the path is not direct at the end: %v %v", o, err)
	}
	if err := idle(ctx, peers, &out); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// serveBench: the first byte says whether 64-byte messages come back ('p'), this byte does and nothing follows ('i'), or all is counted
// and its number told at the end ('b').
func serveBench(n *node, c net.Conn) error {
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return err
	}
	if first[0] == 'i' {
		if _, err := c.Write(first); err != nil {
			return err
		}
		c.Read(first)
		return nil
	}
	buf := make([]byte, 256<<10)
	if first[0] == 'p' {
		for {
			if _, err := io.ReadFull(c, buf[:64]); err != nil {
				return nil // the dialler has enough
			}
			if _, err := c.Write(buf[:64]); err != nil {
				return err
			}
		}
	}
	total := 0
	for {
		n, err := c.Read(buf)
		total += n
		if err != nil {
			break
		}
	}
	_, err := fmt.Fprintln(c, total)
	return err
}

func bulk(ctx context.Context, from *node, megabytes int, out *result) error {
	cpu := cpuSeconds()
	size := int64(megabytes) * 1_000_000
	o, err := from.dialOnce(ctx, &command{To: "beta:7", Bytes: size}, useBulk)
	if err != nil {
		return err
	}
	out.CPUPerGB = append(out.CPUPerGB, (cpuSeconds()-cpu)/(float64(size)/1e9))
	out.GbitPerS = append(out.GbitPerS, o["gbit_s"].(float64))
	return nil
}

// useBulk: `bytes` to a listener of mode bench, which counts them.
func useBulk(c net.Conn, cmd *command) (object, error) {
	block := make([]byte, 256<<10)
	io.ReadFull(source(int64(len(block))), block)
	block[0] = 'b'
	size := int(cmd.Bytes)
	began := time.Now()
	for left := size; left > 0; {
		n, err := c.Write(block[:min(left, len(block))])
		if err != nil {
			return nil, err
		}
		left -= n
	}
	if err := closeWrite(c); err != nil {
		return nil, err
	}
	var told int
	if _, err := fmt.Fscan(c, &told); err != nil || told != size-1 {
		return nil, fail("mismatch", "%d bytes came of %d: %v", told, size-1, err)
	}
	return object{"gbit_s": float64(size) * 8 / 1e9 / time.Since(began).Seconds()}, nil
}

func pingPong(ctx context.Context, from *node, out *result) error {
	o, err := from.dialOnce(ctx, &command{To: "beta:7"}, usePingPong)
	if err != nil {
		return err
	}
	out.P50us = append(out.P50us, o["p50_us"].(float64))
	return nil
}

// usePingPong: 64 bytes there and back, again and again, as fast as they come; or for `ms`, one each millisecond.
func usePingPong(c net.Conn, cmd *command) (object, error) {
	msg, back := bytes.Repeat([]byte{'x'}, 64), make([]byte, 64)
	if _, err := c.Write([]byte{'p'}); err != nil {
		return nil, err
	}
	took := []time.Duration{}
	due := time.Now()
	end := due.Add(time.Duration(cmd.Ms) * time.Millisecond)
	for i := 0; cmd.Ms == 0 && i < pings+warm || cmd.Ms > 0 && due.Before(end); i++ {
		if cmd.Ms > 0 {
			due = due.Add(time.Millisecond)
			time.Sleep(time.Until(due))
		}
		began := time.Now()
		if _, err := c.Write(msg); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, back); err != nil {
			return nil, err
		}
		if i >= warm {
			took = append(took, time.Since(began))
		}
		if time.Since(due) > time.Millisecond {
			due = time.Now() // what was late is not made good
		}
	}
	if len(took) == 0 {
		return nil, fail("badarg", "%d ms are too few", cmd.Ms)
	}
	slices.Sort(took)
	us := func(of int) float64 { return float64(took[of].Nanoseconds()) / 1000 }
	return object{"p50_us": us(len(took) / 2), "p99_us": us(len(took) * 99 / 100), "max_us": us(len(took) - 1)}, nil
}

// dialIdle opens `n` connections, each used for one byte, and keeps them as long as the process lives.
func (n *node) dialIdle(ctx context.Context, c *command) (object, error) {
	for range c.N {
		conn, err := n.server.Dial(ctx, "tcp", c.To)
		if err != nil {
			return nil, err
		}
		b := []byte{'i'}
		if _, err := conn.Write(b); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, err
		}
		n.mu.Lock()
		n.idle = append(n.idle, conn)
		n.mu.Unlock()
	}
	return nil, nil
}

// usage {}: what this process has used; the memory that Go keeps for later is given back first. private_kb: written pages of its
// own; clean ones of programs and libraries are the page cache.
func (r *rig) usage(ctx context.Context, c *command) (object, error) {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return nil, err
	}
	sum := func(name string) (kb int) {
		for _, m := range regexp.MustCompile(`(?m)^`+name+`:\s+(\d+) kB`).FindAllSubmatch(text, -1) {
			n, _ := strconv.Atoi(string(m[1]))
			kb += n
		}
		return kb
	}
	return object{"cpu_s": cpuSeconds(), "rss_kb": sum("Rss"), "private_kb": sum("Private_Dirty")}, nil
}

// idle starts a process of its own with one node that knows `peers` others and asks it for its memory.
func idle(ctx context.Context, peers int, out *result) error {
	r := newRig(os.TempDir())
	dir, err := os.MkdirTemp("", "gensock-rig-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r.dir = dir
	o, err := r.startServers(ctx, &command{Fakes: peers})
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, os.Args[0], "-idle", fmt.Sprint(o["control"]))
	child.Env = append(os.Environ(), "SSL_CERT_FILE="+fmt.Sprint(o["ca"]))
	child.Stderr = os.Stderr
	text, err := child.Output()
	if err != nil {
		return err
	}
	var told struct {
		RSS, Private, Peers int
		UpMs                float64
	}
	if err := json.Unmarshal(text, &told); err != nil {
		return err
	}
	if told.Peers != peers {
		return fmt.Errorf("the idle node knows %d peers, not %d", told.Peers, peers)
	}
	out.IdleRSS, out.IdlePrivate = told.RSS, told.Private
	out.UpMs = append(out.UpMs, told.UpMs)
	return nil
}

// idleNode is that process.
func idleNode(r *rig, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.url = url
	o, err := r.startNode(ctx, &command{Name: "idle"})
	if err != nil {
		return err
	}
	st, err := r.status(ctx, &command{Node: "idle"})
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	used, err := r.usage(ctx, nil)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(object{"RSS": used["rss_kb"], "Private": used["private_kb"], "Peers": len(st["peers"].(object)), "UpMs": o["ms"]})
}
