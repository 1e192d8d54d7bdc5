// What nodes say to each other over the tailnet: the listeners' manners and the diallers' checks.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	idleLimit = 30 * time.Second // of a served connection on which nothing comes
	frameMax  = 1 << 20
)

type report struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// listen {node, port, net: tcp | udp, mode}: modes of tcp:
//
//	echo      what comes goes back; the end too
//	answer    reads to the end, then tells {"bytes", "sha256"} of it: the half-close of the other side must not end the connection
//	frames    frames with a length of 4 bytes go back with their bytes in reverse order
//	who       tells at once who has connected, one line of JSON, and ends when the other side did
//	rst       resets the connection when the first byte came
//	hold      reads nothing and says nothing
//	bench     the other end of bulk and pingpong
//
// udp: each datagram goes back.
func (r *rig) listen(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	if c.Net == "udp" {
		return n.listenUDP(c)
	}
	serve := map[string]func(*node, net.Conn) error{"echo": serveEcho, "": serveEcho, "answer": serveAnswer, "frames": serveFrames, "who": serveWho,
		"rst": serveReset, "hold": serveHold, "bench": serveBench}[c.Mode]
	if serve == nil {
		return nil, fail("badarg", "no mode %q", c.Mode)
	}
	l, err := n.server.Listen("tcp", fmt.Sprintf(":%d", c.Port))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := serve(n, conn); err != nil {
					log.Printf("%s: %s from %v: %v", n.name, c.Mode, conn.RemoteAddr(), err)
				}
			}()
		}
	}()
	return nil, n.keep(fmt.Sprintf("tcp:%d", c.Port), l)
}

func (n *node) keep(name string, l io.Closer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.doors == nil {
		l.Close()
		return fail("badarg", "%s is stopped", n.name)
	}
	n.doors[name] = l
	return nil
}

// unlisten {node, port, net}
func (r *rig) unlisten(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s:%d", cmpOr(c.Net, "tcp"), c.Port)
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.doors[name]
	if l == nil {
		return nil, fail("badarg", "%s does not listen on %s", n.name, name)
	}
	delete(n.doors, name)
	return nil, l.Close()
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (n *node) listenUDP(c *command) (object, error) {
	ip4, ip6 := n.server.TailscaleIPs()
	for _, ip := range []fmt.Stringer{ip4, ip6} {
		pc, err := n.server.ListenPacket("udp", net.JoinHostPort(ip.String(), fmt.Sprint(c.Port)))
		if err != nil {
			return nil, err
		}
		go func() {
			buf := make([]byte, 65536)
			for {
				size, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				pc.WriteTo(buf[:size], from)
			}
		}()
		name := fmt.Sprintf("udp:%d", c.Port)
		if ip == fmt.Stringer(ip6) {
			name += "/6"
		}
		if err := n.keep(name, pc); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// patient gives each read a deadline of its own.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	p.SetReadDeadline(time.Now().Add(idleLimit))
	return p.Conn.Read(b)
}

func serveEcho(n *node, c net.Conn) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{patient{c}}, make([]byte, 128<<10))
	return err
}

func serveAnswer(n *node, c net.Conn) error {
	h := sha256.New()
	count, err := io.CopyBuffer(h, struct{ io.Reader }{patient{c}}, make([]byte, 128<<10))
	if err != nil {
		return err
	}
	return json.NewEncoder(c).Encode(report{count, hex.EncodeToString(h.Sum(nil))})
}

func serveFrames(n *node, c net.Conn) error {
	in := bufio.NewReaderSize(patient{c}, 64<<10)
	for {
		frame, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		slices.Reverse(frame[4:])
		if _, err := c.Write(frame); err != nil {
			return err
		}
	}
}

// readFrame answers a frame with its header.
func readFrame(in io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > frameMax {
		return nil, fail("other", "a frame of %d bytes", size)
	}
	frame := append(head[:], make([]byte, size)...)
	_, err := io.ReadFull(in, frame[4:])
	return frame, err
}

func serveWho(n *node, c net.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	o, err := n.who(ctx, c.RemoteAddr().String())
	if err != nil {
		o = object{"error": err.Error()}
	}
	o["addr"] = c.RemoteAddr().String()
	if err := json.NewEncoder(c).Encode(o); err != nil {
		return err
	}
	// The dialler closes first, so that TIME_WAIT is its: tsnet, in TIME_WAIT, drops the SYN of a port that is used again.
	_, err = patient{c}.Read(make([]byte, 1))
	if err == io.EOF {
		err = nil
	}
	return err
}

func serveReset(n *node, c net.Conn) error {
	// gVisor resets a connection that is closed with bytes unread: leave the rest of them.
	_, err := io.ReadFull(patient{c}, make([]byte, 1))
	if err == nil {
		time.Sleep(20 * time.Millisecond) // the rest may be in a packet of its own
	}
	return err
}

func serveHold(n *node, c net.Conn) error {
	time.Sleep(idleLimit)
	return nil
}

// dial {node, to: "name:port", mode}: modes:
//
//	exchange  sends `bytes` random bytes to an echo while it reads, then ends; both hashes must be equal
//	answer    sends `bytes`, ends its direction, reads the {"bytes", "sha256"} that comes then
//	frames    `n` frames of many sizes to a listener of that mode
//	flow      for `ms` a block of `bytes` every `pause_ms` to an echo; tells the longest wait for bytes that came back
//	who       reads the line in which the listener tells who we are
//	rst       sends two bytes and reads: the error is the result
//	connect   nothing but connect and close
//	bulk, pingpong, idle   what is measured against a listener of mode bench
//	many      `n` connections, `parallel` at a time, each as `who`; counts what was told
func (r *rig) dial(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	if c.Mode == "many" {
		return n.dialMany(ctx, c)
	}
	if c.Mode == "idle" {
		return n.dialIdle(ctx, c)
	}
	use := map[string]func(net.Conn, *command) (object, error){"exchange": useEcho, "answer": useAnswer, "frames": useFrames, "flow": useFlow, "who": useWho,
		"rst": useReset, "connect": useNothing, "bulk": useBulk, "pingpong": usePingPong}[c.Mode]
	if use == nil {
		return nil, fail("badarg", "no mode %q", c.Mode)
	}
	return n.dialOnce(ctx, c, use)
}

func (n *node) dialOnce(ctx context.Context, c *command, use func(net.Conn, *command) (object, error)) (object, error) {
	began := time.Now()
	conn, err := n.server.Dial(ctx, cmpOr(c.Net, "tcp"), c.To)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	connected := time.Since(began)
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	o, err := use(conn, c)
	if o == nil {
		o = object{}
	}
	o["connect_ms"], o["ms"] = float64(connected.Microseconds())/1000, time.Since(began).Milliseconds()
	return o, err
}

// source is `size` bytes that no compression shortens, other ones each time.
func source(size int64) io.Reader {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], rand.Uint64())
	return io.LimitReader(rand.NewChaCha8(seed), size)
}

// pour sends and hashes.
func pour(c net.Conn, size int64) (string, error) {
	h := sha256.New()
	sent, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(c, h)}, struct{ io.Reader }{source(size)}, make([]byte, 128<<10))
	if err == nil && sent != size {
		err = fail("other", "sent %d of %d", sent, size)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

func closeWrite(c net.Conn) error {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return fail("other", "%T has no half-close", c)
	}
	return half.CloseWrite()
}

func useEcho(c net.Conn, cmd *command) (object, error) {
	type sent struct {
		sum string
		err error
	}
	done := make(chan sent, 1)
	go func() {
		sum, err := pour(c, cmd.Bytes)
		if err == nil {
			err = closeWrite(c)
		}
		done <- sent{sum, err}
	}()
	h := sha256.New()
	count, err := io.CopyBuffer(h, struct{ io.Reader }{c}, make([]byte, 128<<10))
	if err != nil {
		c.Close()
	}
	s := <-done
	if err = errors.Join(s.err, err); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != s.sum || count != cmd.Bytes {
		return nil, fail("mismatch", "sent %d bytes %s, got %d bytes %s", cmd.Bytes, s.sum, count, got)
	}
	return object{"bytes": count, "sha256": s.sum}, nil
}

func useAnswer(c net.Conn, cmd *command) (object, error) {
	sum, err := pour(c, cmd.Bytes)
	if err == nil {
		err = closeWrite(c)
	}
	if err != nil {
		return nil, err
	}
	var told report
	if err := json.NewDecoder(c).Decode(&told); err != nil {
		return nil, err
	}
	if told.Bytes != cmd.Bytes || told.SHA256 != sum {
		return nil, fail("mismatch", "sent %d bytes %s, the other side tells %d bytes %s", cmd.Bytes, sum, told.Bytes, told.SHA256)
	}
	return object{"bytes": told.Bytes, "sha256": sum}, nil
}

func useFrames(c net.Conn, cmd *command) (object, error) {
	frames := make([][]byte, max(cmd.N, 1))
	for i := range frames {
		size := []int{0, 1, 3, 4, 1239, 1240, 1241, 4096, 65535, 70000}[i%10]
		frames[i] = binary.BigEndian.AppendUint32(nil, uint32(size))
		body := make([]byte, size)
		io.ReadFull(source(int64(size)), body)
		frames[i] = append(frames[i], body...)
	}
	failed := make(chan error, 1)
	go func() {
		for _, f := range frames {
			if _, err := c.Write(f); err != nil {
				failed <- err
				return
			}
		}
		failed <- closeWrite(c)
	}()
	in := bufio.NewReader(c)
	for i, want := range frames {
		got, err := readFrame(in)
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		}
		slices.Reverse(got[4:])
		if !bytes.Equal(got, want) {
			return nil, fail("mismatch", "frame %d of %d bytes came back different", i, len(want))
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return nil, fail("mismatch", "after the last frame: %v", err)
	}
	return object{"n": len(frames)}, <-failed
}

func useFlow(c net.Conn, cmd *command) (object, error) {
	block := int64(max(cmd.Bytes, 1000))
	sentSum, gotSum := sha256.New(), sha256.New()
	var sent int64
	done := make(chan error, 1)
	go func() {
		end := time.Now().Add(time.Duration(cmd.Ms) * time.Millisecond)
		for time.Now().Before(end) {
			if _, err := io.Copy(io.MultiWriter(c, sentSum), source(block)); err != nil {
				done <- err
				return
			}
			sent += block
			time.Sleep(time.Duration(max(cmd.PauseMs, 1)) * time.Millisecond)
		}
		done <- closeWrite(c)
	}()
	var got int64
	var gap time.Duration
	buf, last := make([]byte, 64<<10), time.Now()
	for {
		n, err := c.Read(buf)
		gap = max(gap, time.Since(last))
		last = time.Now()
		gotSum.Write(buf[:n])
		got += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return object{"got": got, "gap_ms": gap.Milliseconds()}, err
		}
	}
	if err := <-done; err != nil {
		return nil, err
	}
	if got != sent || !bytes.Equal(sentSum.Sum(nil), gotSum.Sum(nil)) {
		return nil, fail("mismatch", "sent %d bytes, %d came back", sent, got)
	}
	return object{"bytes": got, "gap_ms": gap.Milliseconds()}, nil
}

func useWho(c net.Conn, cmd *command) (object, error) {
	o := object{}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	return o, err
}

func useReset(c net.Conn, cmd *command) (object, error) {
	if _, err := c.Write([]byte("ab")); err != nil {
		return nil, err
	}
	n, err := c.Read(make([]byte, 100))
	if err == nil {
		return nil, fail("mismatch", "%d bytes came from who should have reset", n)
	}
	return nil, err
}

func useNothing(c net.Conn, cmd *command) (object, error) { return nil, nil }

func (n *node) dialMany(ctx context.Context, c *command) (object, error) {
	var mu sync.Mutex
	told, failures := map[string]int{}, map[string]int{}
	var next atomic.Int64
	var all sync.WaitGroup
	for range max(c.Parallel, 1) {
		all.Go(func() {
			for next.Add(1) <= int64(c.N) && ctx.Err() == nil {
				o, err := n.dialOnce(ctx, c, useWho)
				mu.Lock()
				if err != nil {
					failures[word(err)+": "+err.Error()]++
				} else {
					told[fmt.Sprint(o["node"])]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(failures) > 0 {
		return object{"told": told}, fail("other", "%v", failures)
	}
	return object{"told": told}, nil
}

// udp {node, to, sizes}: a datagram of each size, one after the other; each must come back whole, alone and with its bytes. A
// datagram may be lost: it is sent again every 500 ms.
func (r *rig) udp(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	conn, err := n.server.Dial(ctx, "udp", c.To)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	sent := 0
	buf := make([]byte, 65536)
	for i, size := range c.Sizes {
		body := make([]byte, size)
		io.ReadFull(source(int64(size)), body)
		for came := false; !came; {
			if ctx.Err() != nil {
				return object{"came": i, "sent": sent}, ctx.Err()
			}
			if _, err := conn.Write(body); err != nil {
				return nil, err
			}
			sent++
			conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			for {
				got, err := conn.Read(buf)
				if err != nil {
					break
				}
				if bytes.Equal(buf[:got], body) {
					came = true
					break
				}
				if i == 0 || sent == i+1 { // nothing was sent twice, so nothing can be late
					return nil, fail("mismatch", "datagram %d of %d bytes came back as %d bytes", i, size, got)
				}
			}
		}
	}
	return object{"came": len(c.Sizes), "sent": sent}, nil
}
