// The rig: what Tailscale's own Go code says about a tailnet, steered line by line from a test.
//
// One process holds a control server (testcontrol), relays (derpserver, TLS with a CA of its own), STUN, and tsnet nodes. It is
// meant for a network namespace of its own and refuses to start where the host's network is. A command is one JSON object on a
// line of stdin: {"id": 7, "cmd": "dial", ...}; its answer is one line on stdout: {"id": 7, "ok": true, ...} or {"id": 7, "ok":
// false, "error": WORD, "detail": TEXT}. Commands run side by side, each with a deadline ("timeout_ms", 20 s when absent).
// The end of stdin ends everything.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tailscale.com/envknob"
)

type object = map[string]any

// A command's arguments, all of them; each command takes what it names in its comment.
type command struct {
	ID        json.RawMessage `json:"id"`
	Cmd       string          `json:"cmd"`
	TimeoutMs int             `json:"timeout_ms"`

	Node string `json:"node"`
	To   string `json:"to"`
	Mode string `json:"mode"`
	Net  string `json:"net"`
	Port int    `json:"port"`
	Addr string `json:"addr"`
	Name string `json:"name"`
	URL  string `json:"url"`
	CA   string `json:"ca"`
	Want string `json:"want"`
	On   bool   `json:"on"`

	Bytes    int64 `json:"bytes"`
	Ms       int   `json:"ms"`
	PauseMs  int   `json:"pause_ms"`
	DownMs   int   `json:"down_ms"`
	N        int   `json:"n"`
	Parallel int   `json:"parallel"`
	Sizes    []int `json:"sizes"`

	Key       string          `json:"key"`
	Ephemeral bool            `json:"ephemeral"`
	Tags      []string        `json:"tags"`
	User      string          `json:"user"`
	NoWait    bool            `json:"nowait"`
	Rules     json.RawMessage `json:"rules"`

	Regions  int  `json:"regions"`
	Region   int  `json:"region"`
	IPv6     bool `json:"ipv6"`
	Deltas   bool `json:"deltas"`
	Login    bool `json:"login"`
	NewKey   bool `json:"new_key"`
	Fakes    int  `json:"fakes"`
	CertName bool `json:"cert_name"`
}

type rig struct {
	dir string

	mu      sync.Mutex
	servers *servers
	url     string // of the control server that nodes join
	nodes   map[string]*node
	ca      []byte // PEM, what every node trusts
}

func newRig(dir string) *rig { return &rig{dir: dir, nodes: map[string]*node{}} }

type handler func(*rig, context.Context, *command) (object, error)

var commands = map[string]handler{
	"servers":         (*rig).startServers,
	"join":            (*rig).join,
	"node":            (*rig).startNode,
	"up":              (*rig).upNode,
	"stop":            (*rig).stopNode,
	"login_url":       (*rig).loginURL,
	"status":          (*rig).status,
	"whois":           (*rig).whois,
	"ping":            (*rig).ping,
	"listen":          (*rig).listen,
	"unlisten":        (*rig).unlisten,
	"dial":            (*rig).dial,
	"udp":             (*rig).udp,
	"restart_control": (*rig).restartControl,
	"fakes":           (*rig).moreFakes,
	"restart_relay":   (*rig).restartRelay,
	"relay_counters":  (*rig).relayCounters,
	"filter":          (*rig).setFilter,
	"update":          (*rig).updateNode,
	"remove":          (*rig).removeNode,
	"complete_login":  (*rig).completeLogin,
	"nodes":           (*rig).listNodes,
	"usage":           (*rig).usage,
	"direct":          (*rig).allowDirect,
	"force_relay":     (*rig).forceRelay,
}

// word is the one word that a test compares: what kind of failure this is.
func word(err error) string {
	var told *failure
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &told):
		return told.word
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case mentions(err, "connection was refused", "connection refused"):
		return "refused"
	case mentions(err, "reset by peer", "connection reset"):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	case mentions(err, "no such host", "lookup "):
		return "nxdomain"
	case mentions(err, "invalid authkey", "invalid auth key"):
		return "authkey"
	}
	return "other"
}

// failure is an error of which the rig knows the word.
type failure struct{ word, text string }

func (f *failure) Error() string { return f.text }

func mentions(err error, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(err.Error(), p) })
}

func fail(word, format string, a ...any) error { return &failure{word, fmt.Sprintf(format, a...)} }

func (r *rig) run(in io.Reader, out io.Writer) {
	var mu sync.Mutex
	answer := func(c *command, o object, err error) {
		if o == nil {
			o = object{}
		}
		o["id"], o["ok"] = c.ID, err == nil
		if err != nil {
			o["error"], o["detail"] = word(err), err.Error()
		}
		line, jsonErr := json.Marshal(o)
		if jsonErr != nil {
			log.Fatalf("answer to %s: %v", c.Cmd, jsonErr)
		}
		mu.Lock()
		defer mu.Unlock()
		out.Write(append(line, '\n'))
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		c := &command{TimeoutMs: 20000}
		if err := json.Unmarshal(lines.Bytes(), c); err != nil {
			answer(c, nil, fail("badarg", "not a command: %v", err))
			continue
		}
		f := commands[c.Cmd]
		if f == nil {
			answer(c, nil, fail("badarg", "no command %q", c.Cmd))
			continue
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.TimeoutMs)*time.Millisecond)
			defer cancel()
			o, err := f(r, ctx, c)
			answer(c, o, err)
		}()
	}
}

// alone refuses a namespace with a network interface other than lo and what a test made: the host's has a route to the world.
func alone() error {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return err
	}
	host, err := os.Readlink("/proc/1/ns/net")
	if err == nil && own == host {
		return errors.New("this is the network namespace of process 1: start the rig under unshare -n")
	}
	if _, err := net.InterfaceByName("lo"); err != nil {
		return err
	}
	return nil
}

func main() {
	bench := flag.Bool("bench", false, "measure two tsnet nodes and print JSON")
	megabytes := flag.Int("mb", 512, "with -bench: megabytes per round")
	rounds := flag.Int("rounds", 3, "with -bench: rounds")
	peers := flag.Int("peers", 100, "with -bench: peers that an idle node knows")
	idle := flag.String("idle", "", "for -bench itself: a node that joins this URL and tells its memory")
	limit := flag.Duration("limit", 20*time.Minute, "end after this time whatever happens")
	flag.Parse()

	if err := alone(); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(77)
	}
	time.AfterFunc(*limit, func() { fmt.Fprintln(os.Stderr, "rig: over its time"); os.Exit(3) })
	dir, err := os.MkdirTemp("", "gensock-rig-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		log.Fatal(err)
	}
	log.SetOutput(file)
	for name, value := range map[string]string{
		"TS_ASSUME_NETWORK_UP_FOR_TEST": "1", // with lo alone tsnet would pause itself
		"TS_NO_LOGS_NO_SUPPORT":         "true",
		"TS_DISABLE_PORTMAPPER":         "true",
	} {
		envknob.Setenv(name, value)
	}
	envknob.SetNoLogsNoSupport()

	// What the rig leaves behind when it is told to stop is its folder: take that along.
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-ending; os.RemoveAll(dir); os.Exit(0) }()

	r := newRig(dir)
	switch {
	case *idle != "":
		err = idleNode(r, *idle)
	case *bench:
		err = benchmark(r, *megabytes, *rounds, *peers)
	default:
		fmt.Printf("{\"ready\":true,\"log\":%q}\n", file.Name())
		r.run(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
}
