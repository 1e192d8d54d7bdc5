"""What the scripts ei_* share: a namespace with an epmd of its own, C nodes (cnode.c) and Erlang nodes (ei_peer.erl) that are
steered line by line, and certificates that both sides know."""
import atexit
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'cli'))
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from clitest import ROOT, Skip, expect  # noqa: E402
from harness import certificates  # noqa: E402

BUILD = os.environ.get('GS_BUILD') or os.path.join(ROOT, 'build', 'asan')
NODE = os.environ.get('GS_CNODE') or os.path.join(BUILD, 'tests', 'cnode')
SECONDS, COOKIE = int(os.environ.get('GS_CLI_SECONDS', '60')), 'oatmeal'
TICK = 4  # net_ticktime of the Erlang nodes
d = None


def skip(reason):
    print(reason)
    sys.exit(77)


def need(*programs):
    for program, package in programs:
        if not shutil.which(program):
            skip(f'no {program} here (Debian: {package})')
    if not os.path.exists(NODE):
        skip(f'{NODE} is not there: this build is without ei (Debian: erlang-dev)')


def enter():
    """The script goes on in a namespace of its own, with lo, a host name that means it, and an epmd that nobody else asks."""
    if os.environ.get('GS_EI_INSIDE') != 'yes':
        unshare = ['unshare', '--net', '--uts'] + ([] if os.geteuid() == 0 else ['--map-root-user'])
        if subprocess.run([*unshare, 'ip', 'link', 'set', 'lo', 'up'], capture_output=True).returncode:
            skip('no network namespace can be made here (unshare --net --uts)')
        os.environ['GS_EI_INSIDE'] = 'yes'
        os.execvp(unshare[0], [*unshare, 'sh', '-c', 'ip link set lo up && hostname localhost && exec "$@"', 'sh',
                               sys.executable, *sys.argv])


def world(epmd=True):
    """A folder d with certificates and the Erlang node's module, and epmd; all of it ends with the script."""
    global d
    d = tempfile.mkdtemp(prefix='gensock-ei-')
    atexit.register(shutil.rmtree, d)
    certificates.make(d)
    certificates.make_signed(d, 'client', 'DNS:localhost')
    certificates.make_one(d, 'stranger', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    subprocess.run(['erlc', '-o', d, os.path.join(ROOT, 'tests', 'interop', 'ei_peer.erl')], check=True, timeout=SECONDS)
    os.environ['HOME'] = d
    for variable in [v for v in os.environ if v.startswith('ERL_')]:
        del os.environ[variable]
    if epmd:
        start_epmd()
    return d


def start_epmd():
    p = subprocess.Popen(['epmd'], stdin=subprocess.DEVNULL)
    atexit.register(end, p)
    deadline = time.monotonic() + 20
    while subprocess.run(['epmd', '-names'], capture_output=True).returncode:
        expect(time.monotonic() < deadline and p.poll() is None, 'epmd does not start')
        time.sleep(0.05)


def end(p):
    if p.poll() is None:
        p.kill()
    p.wait()


def freeze(p):
    """Stops it, until SIGCONT: all of its threads when this answers."""
    p.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 20
    while True:
        states = set()
        for t in os.listdir(f'/proc/{p.pid}/task'):
            with open(f'/proc/{p.pid}/task/{t}/stat') as f:
                states.add(f.read().rpartition(')')[2].split()[0])
        if states == {'T'}:
            return
        expect(time.monotonic() < deadline, 'it does not stop', states)
        time.sleep(0.001)


class Refused(Exception):
    """A command of a C node failed: `what result errno gensock-code detail`."""

    def __init__(self, line, text):
        super().__init__(f'{line}: {text}')
        words = text.split(None, 4)
        self.text, self.errno = text, words[2] if len(words) > 2 else ''
        self.code = words[3] if len(words) > 3 else ''


class Node:
    """A C node. node(command, word…) answers its words; begin and wait do it in two steps."""

    def __init__(self, transport, name, *options, cookie=COOKIE, before=(), fault=None):
        self.argv = (*before, NODE, transport, name, cookie, *options)
        env = dict(os.environ, GS_FAULT=fault) if fault else os.environ
        self.name, self.answers, self.n, self.log = name, {}, 0, []
        self.fires = fault and transport != 'mem'  # which passes no system call
        self.changed, self.ended = threading.Condition(), False
        self.p = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        threading.Thread(target=self.read, daemon=True).start()
        try:
            self.wait((0, 'start'))
        except BaseException:
            end(self.p)
            raise

    def read(self):
        for line in self.p.stdout:
            m = re.match(r'(\d+) (ok|error) ?(.*)', line.decode(errors='replace'))
            with self.changed:
                if m:
                    self.answers[int(m[1])] = (m[2] == 'ok', m[3])
                else:
                    self.log.append(line.decode(errors='replace'))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def begin(self, *words):
        self.n += 1
        line = ' '.join(map(str, words))
        self.p.stdin.write(f'{self.n} {line}\n'.encode())
        self.p.stdin.flush()
        return self.n, line

    def wait(self, begun, seconds=2 * SECONDS):
        n, line = begun
        deadline = time.monotonic() + seconds
        with self.changed:
            while n not in self.answers:
                left = deadline - time.monotonic()
                what = 'ended' if self.ended else 'does not answer'
                expect(left > 0 and not self.ended, self.argv, what, line, *self.log[-60:])
                self.changed.wait(left)
            ok, text = self.answers.pop(n)
        if not ok:
            raise Refused(line, text)
        return text.split()

    def __call__(self, *words):
        return self.wait(self.begin(*words))

    def refuses(self, *words):
        return self.refused(self.begin(*words))

    def refused(self, begun):
        try:
            said = self.wait(begun)
        except Refused as e:
            return e
        raise AssertionError(f'{begun} is not refused but {said}')

    def listen(self, address):
        """(descriptor, port), as text."""
        return self('listen', address)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        try:
            code = self.p.wait(30)
        except subprocess.TimeoutExpired:
            end(self.p)
            code = None
        with self.changed:
            self.changed.wait_for(lambda: self.ended, 10)
        self.p.stdout.close()
        text = ''.join(self.log)
        if kind is None:
            fired = re.search(r'# fault .* (\d+) firings', text)
            expect(not self.fires or int(fired[1]) > 0, 'no fault was made', text)
            expect(code == 0 and 'Sanitizer' not in text and 'runtime error' not in text, self.argv, 'ended with', code, text)


class Erlang:
    """An Erlang node. erl('expression') answers its value as text."""

    def __init__(self, name, *options, before=(), cookie=COOKIE, names='-sname', tick=TICK):
        self.argv = [*before, 'erl', '-noshell', names, name, '-setcookie', cookie, '-start_epmd', 'false', '-pa', d, '+sbwt', 'none',
                     '+S', '2:2', '-connect_all', 'false', '-kernel', 'net_ticktime', str(tick), 'logger_level', 'critical', *options,
                     '-s', 'ei_peer', 'main']
        self.name, self.text = name, b''
        self.p = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            expect(self.line(30) == 'ready', self.argv, self.text)
        except BaseException:
            end(self.p)
            raise

    def line(self, seconds):
        deadline, noise = time.monotonic() + seconds, []
        while True:
            while b'\n' not in self.text:
                left = deadline - time.monotonic()
                came = left > 0 and select.select([self.p.stdout], [], [], left)[0]
                expect(came, self.argv, 'does not answer', self.text, *noise[-20:])
                part = os.read(self.p.stdout.fileno(), 1 << 16)
                expect(part, self.argv, 'ended', self.text, *noise[-20:])
                self.text += part
            line, _, self.text = self.text.partition(b'\n')
            line = line.decode(errors='replace')
            if line[:2] in ('= ', '! '):
                expect(line[0] == '=', line)
                return line[2:]
            noise.append(line)

    def begin(self, expression):
        self.p.stdin.write(expression.encode() + b'.\n')
        self.p.stdin.flush()

    def __call__(self, expression, seconds=2 * SECONDS):
        self.begin(expression)
        return self.line(seconds)

    def freeze(self):
        freeze(self.p)

    def thaw(self):
        self.p.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.thaw()
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            end(self.p)
        self.p.stdout.close()


def tls_options(cert='server', ca='ca', versions=('tlsv1.3',), more=''):
    """-proto_dist inet_tls with certificates that are verified both ways."""
    path = f'{d}/{cert}-{ca}-{"-".join(versions)}.conf'
    own = (f'{{certfile, "{d}/{cert}.pem"}}, {{keyfile, "{d}/{cert}.key"}}, {{cacertfile, "{d}/{ca}.pem"}},'
           f'{{verify, verify_peer}}, {{versions, [{", ".join(chr(39) + v + chr(39) for v in versions)}]}}{more}')
    with open(path, 'w') as f:
        f.write(f'[{{server, [{own}, {{fail_if_no_peer_cert, true}}]}}, {{client, [{own}]}}].\n')
    return '-proto_dist', 'inet_tls', '-ssl_dist_optfile', path


def nothing_left(act, *nodes, times=8):
    """The act is done once, then so many times more: what the C nodes hold is then as it was: descriptors, threads, gensock's
    blocks. Of the whole heap less than 100 bytes for each time, or less the next time: libc and OpenSSL keep a little, once."""
    act()
    for attempt in range(3):
        for node in nodes:
            node('census', 'mark')
        for _ in range(times):
            act()
        grown = max(int(node('census', 'check')[0]) for node in nodes)
        if grown < 100 * times:
            return
    expect(False, act.__name__, 'lets the heap grow:', grown, 'bytes in', times, 'rounds, again and again')
