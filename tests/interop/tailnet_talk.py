"""What the tailnet's interoperability scripts share: a network namespace for the whole script, the rig of Tailscale's Go code
(tests/interop/tsnet) built for it, and programs that are steered line by line: a JSON object there, one back.
"""
import ctypes
import fcntl
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'cli'))
from clitest import ROOT, expect  # noqa: E402

GO_VERSION = (1, 26)
GATEWAY, OWN = '10.77.0.2', '10.77.0.1'
BUILD = os.environ.get('GS_BUILD') or os.path.join(ROOT, 'build', 'asan')
RIG = os.path.join(BUILD, 'interop', 'tsnet-rig')
PEER = os.path.join(BUILD, 'tests', 'tailnet_peer')
ETH_P_ALL, SO_ATTACH_FILTER = 3, 26


def skip(reason):
    print(reason)
    sys.exit(77)


def find_go():
    """The Go command, or the reason that there is none."""
    reasons = []
    for go in dict.fromkeys(filter(None, (os.environ.get('GO'), shutil.which('go'), '/usr/local/go/bin/go'))):
        try:
            text = subprocess.run([go, 'env', 'GOVERSION'], capture_output=True, text=True, timeout=60).stdout
        except OSError as e:
            reasons.append(f'{go}: {e.strerror}')
            continue
        m = re.match(r'go(\d+)\.(\d+)', text)
        if m and tuple(map(int, m.groups())) >= GO_VERSION:
            return go, None
        reasons.append(f'{go} is {text.strip() or "no Go"}')
    return None, f'no Go >= {GO_VERSION[0]}.{GO_VERSION[1]} here ({"; ".join(reasons) or "none in PATH or /usr/local/go"})'


def build_rig():
    """Builds the rig where it is not new enough. Modules may come from the registry: this happens outside the namespace."""
    go, reason = find_go()
    if not go:
        skip(reason)
    os.makedirs(os.path.dirname(RIG), exist_ok=True)
    env = dict(os.environ, GOTOOLCHAIN='local', GOFLAGS='-mod=readonly -buildvcs=false', CGO_ENABLED='0')
    env.setdefault('HOME', '/root')
    with open(RIG + '.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        p = subprocess.run(['nice', '-n', '5', go, 'build', '-p', '2', '-o', RIG, '.'], cwd=os.path.join(ROOT, 'tests', 'interop', 'tsnet'),
                           env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if p.returncode:
        if re.search(r'dial tcp|no such host|i/o timeout|network is unreachable|module lookup disabled|proxyconnect', p.stderr):
            skip('the Go modules of tailscale.com are not in the cache and cannot be had: ' + p.stderr.strip().splitlines()[-1])
        print(p.stderr)
        sys.exit(1)


def enter(wire=True):
    """The script goes on in a network namespace of its own: lo, and a default route into a wire that ends there, on which a leak is
    seen. Answers when it is there; the first call of it replaces the process. wire: False: lo alone."""
    if os.environ.get('GS_TAILNET_INSIDE') != 'yes':
        unshare = ['unshare', '--net'] + ([] if os.geteuid() == 0 else ['--map-root-user'])
        if subprocess.run([*unshare, 'ip', 'link', 'set', 'lo', 'up'], capture_output=True).returncode:
            skip('no network namespace can be made here (unshare --net)')
        os.environ['GS_TAILNET_INSIDE'] = 'yes'
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    for line in ('link set lo up', 'link add out0 type veth peer name out1', 'link set out0 up', 'link set out1 up', f'addr add {OWN}/24 dev out0',
                 f'neigh add {GATEWAY} lladdr 02:00:00:00:00:02 dev out0', f'route add default via {GATEWAY}',
                 '-6 addr add fd00:77::1/64 dev out0 nodad', '-6 neigh add fd00:77::2 lladdr 02:00:00:00:00:02 dev out0',
                 '-6 route add default via fd00:77::2') if wire else ('link set lo up',):
        p = subprocess.run(['ip', *line.split()], capture_output=True, text=True)
        if p.returncode:
            skip(f'ip {line}: {p.stderr.strip()}')


class Refused(Exception):
    """A command's answer was an error. word: the kind; text: the rest."""

    def __init__(self, command, answer):
        self.word, self.answer = answer.get('error'), answer
        super().__init__(f'{command}: {self.word}: {answer.get("detail")}')


class Steered:
    """A program that takes commands as lines of JSON, several at a time, and answers each when it is done."""

    def __init__(self, *argv, **more):
        self.argv, self.answers, self.next, self.said = argv, {}, 1, []
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more)
        self.changed = threading.Condition()
        self.ended = False
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.p.stdout:
            answer = json.loads(line)
            with self.changed:
                if 'id' in answer:
                    self.answers[answer['id']] = answer
                else:
                    self.said.append(answer)
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def start(self, cmd, timeout=20, **args):
        """Says the command; `wait` has its answer later."""
        with self.changed:
            number, self.next = self.next, self.next + 1
        line = json.dumps({'id': number, 'cmd': cmd, 'timeout_ms': int(timeout * 1000), **args})
        self.p.stdin.write(line.encode() + b'\n')
        self.p.stdin.flush()
        return number, line, time.monotonic() + timeout + 15

    def wait(self, begun):
        number, line, deadline = begun
        with self.changed:
            while number not in self.answers:
                left = deadline - time.monotonic()
                expect(left > 0 and not self.ended, self.argv, 'ended' if self.ended else 'does not answer', line, self.log())
                self.changed.wait(left)
            answer = self.answers.pop(number)
        if not answer['ok']:
            raise Refused(line, answer)
        return answer

    def __call__(self, cmd, timeout=20, **args):
        return self.wait(self.start(cmd, timeout, **args))

    def refuses(self, word, cmd, timeout=20, **args):
        """The command fails, and this is why."""
        try:
            answer = self(cmd, timeout, **args)
        except Refused as e:
            expect(e.word == word, f'{e}, not {word}')
            return e.answer
        raise AssertionError(f'{cmd} {args} is not refused but {answer}')

    def log(self):
        return ''

    def end(self):
        """Its input ends, so it ends; its exit code."""
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        try:
            code = self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            code = self.p.wait()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()


class Rig(Steered):
    def __init__(self, *args):
        super().__init__(RIG, *args)
        with self.changed:
            self.changed.wait_for(lambda: self.said or self.ended, 30)
        expect(self.said, 'the rig does not start')
        self.path = self.said[0]['log']

    def log(self, lines=40):
        with open(self.path, errors='replace') as f:
            return '\n# '.join(['', *f.read().splitlines()[-lines:]])


# What Watch wants of the kernel, as classic BPF on the packet from its IP header on: an address, of either end, in 100.64.0.0/10
# or fd7a:115c:a1e0::/48, or port 53 of TCP or UDP at either end. (code, k), or (code, k, where to if equal, where to if not).
BYTE, HALF, WORD, AND, EQUAL, HEADER, HALF_BEHIND, END = 0x30, 0x28, 0x20, 0x54, 0x15, 0xb1, 0x48, 6
LEAKS = [
    (BYTE, 0), (AND, 0xf0), (EQUAL, 0x40, 'four', 'six?'),
    'four', (WORD, 16), (AND, 0xffc00000), (EQUAL, 0x64400000, 'take', 'from'),
    'from', (WORD, 12), (AND, 0xffc00000), (EQUAL, 0x64400000, 'take', 'ports'),
    'ports', (BYTE, 9), (EQUAL, 17, 'udp', 'tcp?'), 'tcp?', (EQUAL, 6, 'udp', 'drop'),
    'udp', (HEADER, 0), (HALF_BEHIND, 0), (EQUAL, 53, 'take', 'to'), 'to', (HALF_BEHIND, 2), (EQUAL, 53, 'take', 'drop'),
    'six?', (EQUAL, 0x60, 'six', 'drop'),
    'six', (WORD, 24), (EQUAL, 0xfd7a115c, 'rest', 'from6'), 'rest', (HALF, 28), (EQUAL, 0xa1e0, 'take', 'from6'),
    'from6', (WORD, 8), (EQUAL, 0xfd7a115c, 'rest8', 'ports6'), 'rest8', (HALF, 12), (EQUAL, 0xa1e0, 'take', 'ports6'),
    'ports6', (HALF, 40), (EQUAL, 53, 'take', 'to6'), 'to6', (HALF, 42), (EQUAL, 53, 'take', 'drop'),
    'take', (END, 0xffff), 'drop', (END, 0)]


def leak_filter():
    where, lines = {}, []
    for line in LEAKS:
        if isinstance(line, str):
            where[line] = len(lines)
        else:
            lines.append(line)
    out = []
    for i, (code, k, *to) in enumerate(lines):
        jumps = [where[w] - i - 1 for w in to] or [0, 0]
        out.append(struct.pack('HBBI', code, *jumps, k))
    return out


class Watch:
    """Sees on every interface of the namespace: packets from or to an address of the tailnet, and what goes to a resolver: questions
    that contain a name of it, or any (all_of_dns)."""

    def __init__(self, *names, all_of_dns=False):
        self.all_of_dns = all_of_dns
        self.names = [b''.join(bytes([len(p)]) + p.encode() for p in name.split('.')) for name in names]
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        code = leak_filter()
        kept = ctypes.create_string_buffer(b''.join(code))
        self.s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack('HP', len(code), ctypes.addressof(kept)))
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.found = []

    def look(self):
        """Takes in what has passed since; answers the findings so far."""
        while select.select([self.s], [], [], 0)[0]:
            data, where = self.s.recvfrom(65536)
            self.judge(data, where[0])
        return self.found

    def judge(self, data, interface):
        if len(data) >= 20 and data[0] >> 4 == 4:
            ends, protocol, rest = (data[12:16], data[16:20]), data[9], data[(data[0] & 15) * 4:]
            if any(at[0] == 100 and at[1] & 0xc0 == 64 for at in ends):
                self.found.append(f'{interface}: a packet {" to ".join(map(socket.inet_ntoa, ends))}, protocol {protocol}')
        elif len(data) >= 40 and data[0] >> 4 == 6:
            ends, protocol, rest = (data[8:24], data[24:40]), data[6], data[40:]
            if any(at.startswith(bytes.fromhex('fd7a115ca1e0')) for at in ends):
                text = ' to '.join(socket.inet_ntop(socket.AF_INET6, at) for at in ends)
                self.found.append(f'{interface}: a packet {text}, protocol {protocol}')
        else:
            return
        if protocol in (6, 17) and len(rest) >= 4 and 53 in struct.unpack('>HH', rest[:4]):
            if self.all_of_dns:
                self.found.append(f'{interface}: a resolver is asked for something')
            for name in self.names:
                if name in rest.lower():
                    self.found.append(f'{interface}: a resolver is asked for {name}')

    def prove(self):
        """It sees what it should: one packet of each kind, sent on purpose. Answers what it had found before."""
        before = list(self.look())
        for family, to, what in ((socket.AF_INET, ('100.64.0.2', 7), 'to 100.64.0.2'),
                                 (socket.AF_INET6, ('fd7a:115c:a1e0::2', 7), 'to fd7a:115c:a1e0::2'),
                                 (socket.AF_INET, (GATEWAY, 53), 'asked for'), (socket.AF_INET6, ('::1', 53), 'asked for')):
            at = len(self.look())
            with socket.socket(family, socket.SOCK_DGRAM) as s:
                s.sendto(b'\0' * 12 + b''.join(self.names[:1]) + b'\0\0\1\0\1', to)
            found = self.look()[at:]
            expect(any(what in f for f in found), 'the watch does not see', what, found)
        self.s.close()
        return before


class Peer(Steered):
    """tests/interop/tailnet_peer.c: gensock's nodes."""

    def __init__(self, *before, **more):
        super().__init__(*before, PEER, **more)


def need_peer():
    if not os.path.exists('/dev/net/tun'):
        skip('no /dev/net/tun here, so no tailnet node can run')
    if not os.path.exists(PEER):
        skip(f'{PEER} is not there: this build has no tailnet (needs libsodium, libzstd, libnghttp2)')
