// Map streams in pieces, as a real control server sends them: the first message is whole (testcontrol's), what follows is only
// what changed: peers, patches of peers, who is online, removals, filters. testcontrol's own streams repeat everything.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
)

const queueMax = 256

type stream struct {
	req   *tailcfg.MapRequest
	queue chan *tailcfg.MapResponse
	end   context.CancelFunc
}

type mapStreams struct {
	control *testcontrol.Server
	mu      sync.Mutex
	streams map[key.NodePublic]*stream
	known   map[tailcfg.NodeID]bool // peers have been told of it whole, so patches do
	removed map[key.NodePublic]bool
	fakes   []*tailcfg.Node                         // peers that control itself does not know
	rules   map[key.NodePublic][]tailcfg.FilterRule // of one node
	common  []tailcfg.FilterRule                    // of all others; nil: testcontrol's, which allows all
}

func newMapStreams(control *testcontrol.Server) *mapStreams {
	return &mapStreams{control: control, streams: map[key.NodePublic]*stream{}, known: map[tailcfg.NodeID]bool{},
		removed: map[key.NodePublic]bool{}, rules: map[key.NodePublic][]tailcfg.FilterRule{}}
}

func (m *mapStreams) serve(ctx context.Context, w testcontrol.MapStreamWriter, req *tailcfg.MapRequest) {
	m.mu.Lock()
	gone := m.removed[req.NodeKey] || m.control.Node(req.NodeKey) == nil
	m.mu.Unlock()
	if gone {
		return
	}
	if !req.Stream {
		m.takeUpdate(req)
		w.SendMapMessage(&tailcfg.MapResponse{})
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stream{req, make(chan *tailcfg.MapResponse, queueMax), cancel}
	m.mu.Lock()
	if old := m.streams[req.NodeKey]; old != nil {
		old.end()
	}
	m.streams[req.NodeKey] = s
	first := m.whole(req)
	if first != nil {
		m.announce(first.Node)
	}
	m.mu.Unlock()
	defer m.closed(req.NodeKey, s)
	if first == nil || w.SendMapMessage(first) != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-s.queue:
			if w.SendMapMessage(msg) != nil {
				return
			}
		case <-time.After(50 * time.Second):
			if w.SendMapMessage(&tailcfg.MapResponse{KeepAlive: true}) != nil {
				return
			}
		}
	}
}

func (m *mapStreams) closed(k key.NodePublic, s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[k] != s {
		return
	}
	delete(m.streams, k)
	if n := m.control.Node(k); n != nil && !m.removed[k] {
		m.tell(k, func() *tailcfg.MapResponse {
			return &tailcfg.MapResponse{OnlineChange: map[tailcfg.NodeID]bool{n.ID: false}}
		})
	}
}

// whole is the first message of a stream. m.mu is held, here and below.
func (m *mapStreams) whole(req *tailcfg.MapRequest) *tailcfg.MapResponse {
	res, err := m.control.MapResponse(req)
	if err != nil || res == nil {
		return nil
	}
	peers := res.Peers[:0]
	for _, p := range res.Peers {
		if !m.removed[p.Key] {
			p.Online = new(m.streams[p.Key] != nil)
			peers = append(peers, p)
		}
	}
	res.Peers = append(peers, m.fakes...)
	for _, f := range m.fakes {
		res.UserProfiles = append(res.UserProfiles, tailcfg.UserProfile{ID: f.User, LoginName: string(f.StableID) + "@" + domain})
	}
	if rules := m.rulesOf(req.NodeKey); rules != nil {
		res.PacketFilter, res.PacketFilters = nil, map[string][]tailcfg.FilterRule{"base": rules}
	}
	return res
}

func (m *mapStreams) rulesOf(k key.NodePublic) []tailcfg.FilterRule {
	if own := m.rules[k]; own != nil {
		return own
	}
	return m.common
}

// tell queues a message for every stream but that of `except`; one that does not read fast enough is ended, and begins anew.
func (m *mapStreams) tell(except key.NodePublic, make func() *tailcfg.MapResponse) {
	for k, s := range m.streams {
		if k == except {
			continue
		}
		select {
		case s.queue <- make():
		default:
			s.end()
		}
	}
}

// announce tells all others of a node, whole, with the users there are.
func (m *mapStreams) announce(n *tailcfg.Node) {
	n = n.Clone()
	n.CapMap, n.Capabilities = nil, nil
	n.Online = new(m.streams[n.Key] != nil)
	m.known[n.ID] = true
	users := []tailcfg.UserProfile{}
	if res, err := m.control.MapResponse(&tailcfg.MapRequest{NodeKey: n.Key}); err == nil && res != nil {
		users = res.UserProfiles
	}
	m.tell(n.Key, func() *tailcfg.MapResponse {
		return &tailcfg.MapResponse{PeersChanged: []*tailcfg.Node{n}, UserProfiles: users}
	})
}

// takeUpdate keeps what a node says of itself and tells the others, by a patch when they know the node.
func (m *mapStreams) takeUpdate(req *tailcfg.MapRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.control.Node(req.NodeKey)
	if n == nil {
		return
	}
	patch := &tailcfg.PeerChange{NodeID: n.ID, Endpoints: req.Endpoints}
	n.Endpoints, n.Cap = req.Endpoints, req.Version
	if !req.DiscoKey.IsZero() && n.DiscoKey != req.DiscoKey {
		n.DiscoKey, patch.DiscoKey = req.DiscoKey, &req.DiscoKey
	}
	if req.Hostinfo != nil {
		n.Hostinfo = req.Hostinfo.View()
		if ni := req.Hostinfo.NetInfo; ni != nil && ni.PreferredDERP != 0 {
			n.HomeDERP, patch.DERPRegion = ni.PreferredDERP, ni.PreferredDERP
		}
	}
	m.control.UpdateNode(n)
	if !m.known[n.ID] {
		m.announce(n)
		return
	}
	m.tell(n.Key, func() *tailcfg.MapResponse {
		return &tailcfg.MapResponse{PeersChangedPatch: []*tailcfg.PeerChange{patch}}
	})
}

func (r *rig) needMaps() (*servers, *mapStreams, error) {
	s, err := r.needServers()
	if err == nil && s.maps == nil {
		err = fail("badarg", "this needs servers with deltas")
	}
	if err != nil {
		return nil, nil, err
	}
	return s, s.maps, nil
}

// filter {rules, node}: the packet filter of one node, or of all that have none of their own; rules null: what allows all.
func (r *rig) setFilter(ctx context.Context, c *command) (object, error) {
	_, m, err := r.needMaps()
	if err != nil {
		return nil, err
	}
	var rules []tailcfg.FilterRule
	if len(c.Rules) > 0 {
		if err := json.Unmarshal(c.Rules, &rules); err != nil {
			return nil, fail("badarg", "rules: %v", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	only := key.NodePublic{}
	if c.Node != "" {
		n, err := r.controlsNode(c.Node)
		if err != nil {
			return nil, err
		}
		only = n.Key
		m.rules[only] = rules
	} else {
		m.common = rules
	}
	sent := 0
	for k, s := range m.streams {
		now := m.rulesOf(k)
		if now == nil {
			now = tailcfg.FilterAllowAll
		}
		if only.IsZero() || k == only {
			select {
			case s.queue <- &tailcfg.MapResponse{PacketFilters: map[string][]tailcfg.FilterRule{"base": now}}:
				sent++
			default:
				s.end()
			}
		}
	}
	return object{"told": sent}, nil
}

// remove {node}: an administrator deletes it.
func (r *rig) removeNode(ctx context.Context, c *command) (object, error) {
	_, m, err := r.needMaps()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := r.controlsNode(c.Node)
	if err != nil {
		return nil, err
	}
	m.removed[n.Key] = true
	if s := m.streams[n.Key]; s != nil {
		s.end()
	}
	m.tell(n.Key, func() *tailcfg.MapResponse { return &tailcfg.MapResponse{PeersRemoved: []tailcfg.NodeID{n.ID}} })
	return nil, nil
}

// update {node, tags, user}: an administrator tags it, or gives it to the user of another node (named by `user`).
func (r *rig) updateNode(ctx context.Context, c *command) (object, error) {
	s, err := r.needServers()
	if err != nil {
		return nil, err
	}
	if s.maps != nil {
		s.maps.mu.Lock()
		defer s.maps.mu.Unlock()
	}
	n, err := r.controlsNode(c.Node)
	if err != nil {
		return nil, err
	}
	if c.Tags != nil {
		n.Tags = c.Tags
	}
	if c.User != "" {
		other, err := r.controlsNode(c.User)
		if err != nil {
			return nil, err
		}
		n.User = other.User
	}
	s.control.UpdateNode(n)
	if s.maps != nil {
		s.maps.announce(n)
		if own := s.maps.streams[n.Key]; own != nil {
			select {
			case own.queue <- &tailcfg.MapResponse{Node: n}:
			default:
				own.end()
			}
		}
	}
	return nil, nil
}

// controlsNode is the newest node of that host name.
func (r *rig) controlsNode(name string) (*tailcfg.Node, error) {
	s := r.servers
	var found *tailcfg.Node
	for _, n := range s.control.AllNodes() {
		if n.Hostinfo.Valid() && n.Hostinfo.Hostname() == name && (found == nil || n.ID > found.ID) && (s.maps == nil || !s.maps.removed[n.Key]) {
			found = n
		}
	}
	if found == nil {
		return nil, fail("nxdomain", "control has no node %q", name)
	}
	return found, nil
}

// nodes {}: what control knows.
func (r *rig) listNodes(ctx context.Context, c *command) (object, error) {
	s, err := r.needServers()
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, n := range s.control.AllNodes() {
		if !n.Hostinfo.Valid() {
			continue
		}
		list = append(list, object{"name": n.Name, "host": n.Hostinfo.Hostname(), "id": n.ID, "key": n.Key.String(), "home": n.HomeDERP,
			"disco": n.DiscoKey.String(), "endpoints": n.Endpoints, "tags": n.Tags, "addresses": n.Addresses, "cap": n.Cap})
	}
	return object{"nodes": list, "streams": s.control.InServeMap()}, nil
}

// complete_login {url}: somebody has opened the page and agreed.
func (r *rig) completeLogin(ctx context.Context, c *command) (object, error) {
	s, err := r.needServers()
	if err != nil {
		return nil, err
	}
	if !s.control.CompleteAuth(c.URL) {
		return nil, fail("badarg", "no login waits at %q", c.URL)
	}
	return nil, nil
}

// fakes {fakes}: so many peers that are never there join at once, and every node gets its whole map anew. With deltas.
func (r *rig) moreFakes(ctx context.Context, c *command) (object, error) {
	_, m, err := r.needMaps()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for range c.Fakes {
		m.fakes = append(m.fakes, describeFake(new(tailcfg.Node), len(m.fakes)))
	}
	for _, s := range m.streams {
		select {
		case s.queue <- m.whole(s.req):
		default:
			s.end()
		}
	}
	return nil, nil
}

// addFakes gives control so many peers that are never there. Each makes control tell all others, so that ten thousand take 10 s.
func addFakes(control *testcontrol.Server, count int) {
	for i := range count {
		n := &tailcfg.Node{}
		if i == 0 { // makes testcontrol's table
			control.AddFakeNode()
			n = control.AllNodes()[0]
		}
		control.UpdateNode(describeFake(n, i))
	}
}

func describeFake(n *tailcfg.Node, i int) *tailcfg.Node {
	id := 1_000_000 + i
	if n.Key.IsZero() {
		n.Key, n.Machine, n.DiscoKey = key.NewNode().Public(), key.NewMachine().Public(), key.NewDisco().Public()
	}
	n.ID, n.StableID, n.User = tailcfg.NodeID(id), tailcfg.StableNodeID(fmt.Sprintf("FAKE%08d", id)), tailcfg.UserID(id)
	n.Name, n.HomeDERP, n.MachineAuthorized = fmt.Sprintf("fake-%d.%s.", i, domain), 1, true
	n.Addresses = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 80, byte(i >> 8), byte(i)}), 32)}
	n.AllowedIPs = n.Addresses
	n.Endpoints = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 41641)}
	n.Hostinfo = (&tailcfg.Hostinfo{Hostname: fmt.Sprintf("fake-%d", i), OS: "linux"}).View()
	return n
}
