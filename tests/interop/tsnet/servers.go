// The servers of the rig: control, relays with TLS, STUN; and what can be done to them while nodes use them.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/metrics"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/dnstype"
	"tailscale.com/types/key"
)

const domain = "rig.test"

// door is a listener that knows its connections: http.Server forgets those that were hijacked, and both protocols hijack.
type door struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
}

type doorConn struct {
	net.Conn
	d *door
}

func openDoor(addr string) (*door, error) {
	var err error
	for range 50 { // after a restart the port may be in use for a moment
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return &door{Listener: l, conns: map[net.Conn]bool{}}, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, err
}

func (d *door) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.conns[c] = true
	d.mu.Unlock()
	return &doorConn{c, d}, nil
}

func (c *doorConn) Close() error {
	c.d.mu.Lock()
	delete(c.d.conns, c.Conn)
	c.d.mu.Unlock()
	return c.Conn.Close()
}

// slam closes the listener and every connection that came through it.
func (d *door) slam() {
	d.Listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.Close()
	}
	d.conns = map[net.Conn]bool{}
}

type relay struct {
	region   int
	name     string // in its certificate
	addr     string
	tls      *tls.Config
	key      key.NodePrivate
	server   *derpserver.Server
	door     *door
	stun     net.PacketConn
	stunPort int
	before   [2]int64 // bytes in, out, of the servers that were before a restart
}

type servers struct {
	control *testcontrol.Server
	maps    *mapStreams // nil: testcontrol's own streams
	addr    string
	door    *door
	mu      sync.Mutex // of the relays' fields that a restart changes
	relays  []*relay
}

// authority makes a CA and answers a function that signs a server's certificate.
func authority() ([]byte, func(name string) (tls.Certificate, error), error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rig CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, err
	}
	serial := int64(1)
	sign := func(name string) (tls.Certificate, error) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return tls.Certificate{}, err
		}
		serial++
		leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, k.Public(), caKey)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), sign, nil
}

// trust makes text the roots of this process. Go reads them once, at its first TLS handshake, so all must be there before.
func (r *rig) trust(text []byte) (string, error) {
	r.ca = append(r.ca, text...)
	path := filepath.Join(r.dir, "ca.pem")
	if err := os.WriteFile(path, r.ca, 0o644); err != nil {
		return "", err
	}
	os.Setenv("SSL_CERT_FILE", path)
	os.Setenv("SSL_CERT_DIR", r.dir+"/none")
	return path, nil
}

// servers {regions, ipv6, cert_name, key, login, deltas, fakes}: everything that nodes need. key: the auth key that nodes must have;
// login: each waits for complete_login; deltas: map streams as a real control server sends them, in pieces, and then filter and
// remove work; fakes: so many peers that are never there; cert_name: what the relays' certificates say is in CertName alone.
func (r *rig) startServers(ctx context.Context, c *command) (object, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.servers != nil {
		return nil, fail("badarg", "the servers run already")
	}
	pemText, sign, err := authority()
	if err != nil {
		return nil, err
	}
	caPath, err := r.trust(pemText)
	if err != nil {
		return nil, err
	}
	s := &servers{}
	regions := map[int]*tailcfg.DERPRegion{}
	for id := 1; id <= max(c.Regions, 1); id++ {
		rl, err := newRelay(id, sign)
		if err != nil {
			return nil, err
		}
		s.relays = append(s.relays, rl)
		regions[id] = rl.describe(c.IPv6, c.CertName)
	}
	s.control = &testcontrol.Server{
		Logf:           func(format string, a ...any) { log.Printf("control: "+format, a...) },
		DERPMap:        &tailcfg.DERPMap{Regions: regions, OmitDefaultRegions: true},
		RequireAuthKey: c.Key,
		RequireAuth:    c.Login,
		MagicDNSDomain: domain,
		DNSConfig:      &tailcfg.DNSConfig{Proxied: true, Domains: []string{domain}, Routes: map[string][]*dnstype.Resolver{domain: {}}},
		TagOwners:      map[string][]string{"tag:one": {}, "tag:two": {}, "tag:three": {}},
	}
	if c.Deltas {
		s.maps = newMapStreams(s.control)
		s.control.AltMapStream = s.maps.serve
	}
	addFakes(s.control, c.Fakes)
	if s.door, err = openDoor("127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.addr = s.door.Addr().String()
	s.control.ExplicitBaseURL = "http://" + s.addr
	go http.Serve(s.door, s.control)
	r.servers, r.url = s, s.control.ExplicitBaseURL
	return object{"control": r.url, "ca": caPath, "domain": domain, "relay": s.relays[0].addr, "stun_port": s.relays[0].stunPort}, nil
}

// join {url, ca}: nodes started from now on join another control server; ca is a PEM file with what signed its relays.
func (r *rig) join(ctx context.Context, c *command) (object, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.nodes) > 0 {
		return nil, fail("badarg", "join comes before the first node")
	}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		if _, err := r.trust(text); err != nil {
			return nil, err
		}
	}
	r.url = c.URL
	return nil, nil
}

func newRelay(region int, sign func(string) (tls.Certificate, error)) (*relay, error) {
	name := fmt.Sprintf("relay%d.%s", region, domain)
	cert, err := sign(name)
	if err != nil {
		return nil, err
	}
	// NextProtos: a relay's protocol is an upgrade of HTTP/1.1.
	rl := &relay{region: region, name: name, key: key.NewNode(), tls: &tls.Config{NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}}
	if rl.stun, err = net.ListenPacket("udp", ":0"); err != nil {
		return nil, err
	}
	rl.stunPort = rl.stun.LocalAddr().(*net.UDPAddr).Port
	go serveSTUN(rl.stun)
	return rl, rl.start()
}

func (rl *relay) describe(ipv6, certName bool) *tailcfg.DERPRegion {
	_, port, _ := net.SplitHostPort(rl.addr)
	n := &tailcfg.DERPNode{Name: fmt.Sprintf("%da", rl.region), RegionID: rl.region, HostName: rl.name, IPv4: "127.0.0.1", IPv6: "none",
		STUNPort: rl.stunPort}
	fmt.Sscan(port, &n.DERPPort)
	if ipv6 {
		n.IPv6 = "::1"
	}
	if certName {
		n.HostName, n.CertName = "127.0.0.1", rl.name
	}
	return &tailcfg.DERPRegion{RegionID: rl.region, RegionCode: fmt.Sprintf("rig%d", rl.region), RegionName: fmt.Sprintf("Rig %d", rl.region),
		Nodes: []*tailcfg.DERPNode{n}}
}

func (rl *relay) start() error {
	addr := rl.addr
	if addr == "" {
		addr = ":0"
	}
	d, err := openDoor(addr)
	if err != nil {
		return err
	}
	rl.door, rl.addr = d, d.Addr().String()
	rl.server = derpserver.New(rl.key, func(format string, a ...any) { log.Printf("relay: "+format, a...) })
	conf := rl.tls.Clone()
	rl.server.ModifyTLSConfigToAddMetaCert(conf)
	mux := http.NewServeMux()
	mux.Handle("/derp", derpserver.Handler(rl.server))
	mux.HandleFunc("/derp/probe", derpserver.ProbeHandler)
	mux.HandleFunc("/derp/latency-check", derpserver.ProbeHandler)
	mux.HandleFunc("/generate_204", derpserver.ServeNoContent)
	go (&http.Server{Handler: mux, ErrorLog: log.Default()}).Serve(tls.NewListener(d, conf))
	return nil
}

func serveSTUN(pc net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		tx, err := stun.ParseBindingRequest(buf[:n])
		if err != nil {
			continue
		}
		ap := from.(*net.UDPAddr).AddrPort()
		pc.WriteTo(stun.Response(tx, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())), from)
	}
}

func (r *rig) needServers() (*servers, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.servers == nil {
		return nil, fail("badarg", "no servers here: the command servers comes first")
	}
	return r.servers, nil
}

// restart_control {down_ms}: every connection to it ends, it is away for so long, and it comes back knowing what it knew.
func (r *rig) restartControl(ctx context.Context, c *command) (object, error) {
	s, err := r.needServers()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.door.slam()
	time.Sleep(time.Duration(c.DownMs) * time.Millisecond)
	if s.door, err = openDoor(s.addr); err != nil {
		return nil, err
	}
	go http.Serve(s.door, s.control)
	return nil, nil
}

// restart_relay {region, down_ms, new_key}
func (r *rig) restartRelay(ctx context.Context, c *command) (object, error) {
	s, err := r.needServers()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rl := s.relay(c.Region)
	if rl == nil {
		return nil, fail("badarg", "no region %d", c.Region)
	}
	in, out := rl.bytes()
	rl.door.slam()
	rl.server.Close()
	rl.before = [2]int64{in, out}
	if c.NewKey {
		rl.key = key.NewNode()
	}
	time.Sleep(time.Duration(c.DownMs) * time.Millisecond)
	return nil, rl.start()
}

func (s *servers) relay(region int) *relay {
	for _, rl := range s.relays {
		if rl.region == max(region, 1) {
			return rl
		}
	}
	return nil
}

// relay_counters {region}: the bytes of packets that came in and went out since the rig began.
func (r *rig) relayCounters(ctx context.Context, c *command) (object, error) {
	s, err := r.needServers()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rl := s.relay(c.Region)
	if rl == nil {
		return nil, fail("badarg", "no region %d", c.Region)
	}
	in, out := rl.bytes()
	return object{"bytes_in": in, "bytes_out": out}, nil
}

// direct {on, port}: UDP between nodes passes or not; STUN passes always, at `port` where the servers are others'. The kernel's policy
// routing is the switch, as it needs no module; a sender is told EHOSTUNREACH, as by a network that has no way.
func (r *rig) allowDirect(ctx context.Context, c *command) (object, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ports := []int{}
	if r.servers != nil {
		for _, rl := range r.servers.relays {
			ports = append(ports, rl.stunPort)
		}
	}
	if c.Port != 0 {
		ports = append(ports, c.Port)
	}
	for _, family := range []string{"-4", "-6"} {
		for _, pref := range []string{"2", "3", "4"} { // what was set before; there may be nothing
			for exec.CommandContext(ctx, "ip", family, "rule", "del", "pref", pref).Run() == nil {
			}
		}
		if c.On {
			continue
		}
		rules := [][]string{}
		for _, port := range ports {
			for _, end := range []string{"dport", "sport"} {
				rules = append(rules, []string{"pref", "2", "ipproto", "udp", end, fmt.Sprint(port), "lookup", "local"})
			}
		}
		rules = append(rules, []string{"pref", "3", "ipproto", "udp", "unreachable"}, []string{"pref", "5", "lookup", "local"})
		for _, rule := range rules {
			text, err := exec.CommandContext(ctx, "ip", append([]string{family, "rule", "add"}, rule...)...).CombinedOutput()
			if err != nil && rule[1] != "5" {
				return nil, fail("other", "ip %s rule add %v: %s", family, rule, text)
			}
		}
		exec.CommandContext(ctx, "ip", family, "rule", "del", "pref", "0").Run() // the local table's own rule would come first
	}
	return nil, nil
}

// bytes are those of packets in and out. rl belongs to who holds servers.mu.
func (rl *relay) bytes() (in, out int64) {
	vars := rl.server.ExpVar(false).(*metrics.Set)
	in, _ = strconv.ParseInt(vars.Get("bytes_received").String(), 10, 64)
	out, _ = strconv.ParseInt(vars.Get("bytes_sent").String(), 10, 64)
	return in + rl.before[0], out + rl.before[1]
}
