// tsnet nodes: start, stop, and what they know of themselves and of others.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tailscale.com/client/local"
	"tailscale.com/envknob"
	"tailscale.com/ipn/ipnstate"
	"tailscale.com/ipn/store/mem"
	"tailscale.com/tailcfg"
	"tailscale.com/tsnet"
	"tailscale.com/types/logger"
)

type node struct {
	name   string
	server *tsnet.Server
	client *local.Client
	mu     sync.Mutex
	doors  map[string]io.Closer
	idle   []net.Conn
}

// node {name, key, ephemeral, tags, nowait, ca (logs)}: starts one and waits until it is up and has a home relay. A name that ran before
// comes back with the state it had, unless it was ephemeral.
func (r *rig) startNode(ctx context.Context, c *command) (object, error) {
	n := &node{name: c.Name, doors: map[string]io.Closer{}}
	r.mu.Lock()
	if r.url == "" || c.Name == "" || r.nodes[c.Name] != nil {
		r.mu.Unlock()
		return nil, fail("badarg", "node %q: no control server, no name, or it runs already", c.Name)
	}
	s := &tsnet.Server{Dir: filepath.Join(r.dir, "node-"+c.Name), Hostname: c.Name, AuthKey: c.Key, ControlURL: r.url, Ephemeral: c.Ephemeral,
		AdvertiseTags: c.Tags, Logf: logger.WithPrefix(log.Printf, c.Name+": "), UserLogf: logger.WithPrefix(log.Printf, c.Name+": user: ")}
	if c.Ephemeral {
		s.Store = new(mem.Store)
	}
	n.server = s
	r.nodes[c.Name] = n
	r.mu.Unlock()
	began := time.Now()
	err := os.MkdirAll(s.Dir, 0o700)
	if err == nil {
		err = s.Start()
	}
	if err == nil {
		n.client, err = s.LocalClient()
	}
	if err == nil && c.NoWait {
		return object{"name": c.Name}, nil
	}
	var o object
	if err == nil {
		o, err = n.up(ctx, began)
	}
	if err != nil {
		r.forget(n)
		s.Close()
	}
	return o, err
}

func (r *rig) forget(n *node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes[n.name] == n {
		delete(r.nodes, n.name)
	}
}

func (n *node) up(ctx context.Context, began time.Time) (object, error) {
	st, err := n.server.Up(ctx)
	if err != nil {
		return nil, err
	}
	ms := time.Since(began).Milliseconds()
	for st.Self.Relay == "" { // until then nobody could reach it
		if st, err = n.client.Status(ctx); err != nil {
			return nil, err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, fail("timeout", "%s is up but has no home relay", n.name)
		}
	}
	ip4, ip6 := n.server.TailscaleIPs()
	return object{"name": n.name, "fqdn": st.Self.DNSName, "ip4": ip4, "ip6": ip6, "key": st.Self.PublicKey.String(), "home": st.Self.Relay, "ms": ms}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (r *rig) node(name string) (*node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[name]; n != nil && n.client != nil {
		return n, nil
	}
	return nil, fail("badarg", "no node %q runs", name)
}

// up {node}: waits for one that was started with nowait.
func (r *rig) upNode(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	return n.up(ctx, time.Now())
}

// stop {node}
func (r *rig) stopNode(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	for _, d := range n.doors {
		d.Close()
	}
	n.doors = nil
	n.mu.Unlock()
	r.forget(n)
	return nil, n.server.Close()
}

// login_url {node}: waits for the page that somebody must open.
func (r *rig) loginURL(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	for {
		st, err := n.client.Status(ctx)
		if err != nil {
			return nil, err
		}
		if st.AuthURL != "" {
			return object{"url": st.AuthURL, "state": st.BackendState}, nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// status {node}: itself and its peers.
func (r *rig) status(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	st, err := n.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	peers := object{}
	for _, p := range st.Peer {
		peers[p.DNSName] = object{"host": p.HostName, "ips": p.TailscaleIPs, "online": p.Online, "relay": p.Relay, "direct": p.CurAddr, "tags": p.Tags,
			"rx": p.RxBytes, "tx": p.TxBytes, "expired": p.Expired, "handshake": p.LastHandshake.Unix()}
	}
	return object{"state": st.BackendState, "fqdn": st.Self.DNSName, "home": st.Self.Relay, "ips": st.TailscaleIPs, "tags": st.Self.Tags, "health": st.Health,
		"peers": peers}, nil
}

// who is what WhoIs tells of an address.
func (n *node) who(ctx context.Context, addr string) (object, error) {
	w, err := n.client.WhoIs(ctx, addr)
	if err != nil {
		return nil, err
	}
	caps := []string{}
	for name := range w.CapMap {
		caps = append(caps, string(name))
	}
	slices.Sort(caps)
	return object{"node": w.Node.Name, "user": w.UserProfile.LoginName, "display": w.UserProfile.DisplayName, "tags": append([]string{}, w.Node.Tags...),
		"key": w.Node.Key.String(), "caps": caps}, nil
}

// whois {node, addr}
func (r *rig) whois(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	return n.who(ctx, c.Addr)
}

func (n *node) resolve(ctx context.Context, to string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(to); err == nil {
		return ip, nil
	}
	st, err := n.client.Status(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, p := range st.Peer {
		if (p.HostName == to || p.DNSName == to || p.DNSName == to+".") && len(p.TailscaleIPs) > 0 {
			return p.TailscaleIPs[0], nil
		}
	}
	return netip.Addr{}, fail("nxdomain", "%s knows no %q", n.name, to)
}

// ping {node, to, mode: disco | TSMP | ICMP, want: direct | relay}: with `want` again and again until the path is that one.
func (r *rig) ping(ctx context.Context, c *command) (object, error) {
	n, err := r.node(c.Node)
	if err != nil {
		return nil, err
	}
	kind := tailcfg.PingType(c.Mode)
	if c.Mode == "" {
		kind = tailcfg.PingDisco
	}
	last := error(nil)
	for tries := 1; ; tries++ {
		o, err := n.pingOnce(ctx, c.To, kind)
		if err == nil && (c.Want == "" || o["path"] == c.Want) {
			o["tries"] = tries
			return o, nil
		}
		if err != nil {
			last = err
		} else {
			last = fail("timeout", "%s reaches %s by %v, never by %s", n.name, c.To, o["path"], c.Want)
		}
		if ctx.Err() != nil || c.Want == "" {
			return nil, last
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, last
		}
	}
}

func (n *node) pingOnce(ctx context.Context, to string, kind tailcfg.PingType) (object, error) {
	ip, err := n.resolve(ctx, to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	p, err := n.client.Ping(ctx, ip, kind)
	if err != nil {
		return nil, err
	}
	if p.Err != "" {
		return nil, fail("other", "ping: %s", p.Err)
	}
	return object{"ms": p.LatencySeconds * 1000, "path": pathOf(p), "endpoint": p.Endpoint, "region": p.DERPRegionID, "peer": p.NodeName}, nil
}

func pathOf(p *ipnstate.PingResult) string {
	switch {
	case p.Endpoint != "":
		return "direct"
	case p.DERPRegionID != 0:
		return "relay"
	}
	return "unknown"
}

// force_relay {on}: nodes started from now on have no UDP at all.
func (r *rig) forceRelay(ctx context.Context, c *command) (object, error) {
	envknob.Setenv("TS_DEBUG_ALWAYS_USE_DERP", fmt.Sprint(c.On))
	return nil, nil
}
