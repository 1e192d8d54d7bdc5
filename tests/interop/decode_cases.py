"""Requests for decode_diff.py: streams of each packet type as its protocol has them, then cuts and mutations of them, with
limits near the edges. Everything comes from one random.Random, so a seed names its cases.

A builder answers (stream, edges): the bytes, and the offsets in them where something ends: headers, bodies, lines.
"""

EDGES_32 = [1, 2, 3, 4, 5, 7, 8, 255, 256, 65535, 65536, 2**31 - 14, 2**31 - 13, 2**31 - 9, 2**31 - 8, 2**31 - 6,
            2**31 - 5, 2**31 - 4, 2**31 - 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 6, 2**32 - 5, 2**32 - 4, 2**32 - 2,
            2**32 - 1]

METHODS = ['OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE']
HEADERS = ['Cache-Control', 'Connection', 'Date', 'Pragma', 'Transfer-Encoding', 'Upgrade', 'Via', 'Accept',
           'Accept-Charset', 'Accept-Encoding', 'Accept-Language', 'Authorization', 'From', 'Host', 'If-Modified-Since',
           'If-Match', 'If-None-Match', 'If-Range', 'If-Unmodified-Since', 'Max-Forwards', 'Proxy-Authorization', 'Range',
           'Referer', 'User-Agent', 'Age', 'Location', 'Proxy-Authenticate', 'Public', 'Retry-After', 'Server', 'Vary',
           'Warning', 'WWW-Authenticate', 'Allow', 'Content-Base', 'Content-Encoding', 'Content-Language',
           'Content-Length', 'Content-Location', 'Content-MD5', 'Content-Range', 'Content-Type', 'ETag', 'Expires',
           'Last-Modified', 'Accept-Ranges', 'Set-Cookie', 'Set-Cookie2', 'X-Forwarded-For', 'Cookie', 'Keep-Alive',
           'Proxy-Connection', 'Sec-Fetch-Mode', 'X-Request-Id', 'DNT', 'TE', 'Content-Lengths', 'Set-Cookie3']
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\x7f"
SPECIAL = '()<>@,;:\\"/[]?={} \t\r\n\x00\x80\xff'


class Cases:
    def __init__(self, rng):
        self.r = rng

    # -- small things --

    def some(self, *choices):
        return choices[int(self.r.random() * len(choices))]

    def chance(self, p):
        return self.r.random() < p

    def size(self):
        return self.some(0, 1, 2, 3, 5, 8, self.r.randrange(40), self.r.randrange(300))

    def noise(self, n):
        return self.r.randbytes(n)

    def spaces(self):
        return ' ' if self.chance(0.85) else self.some('', '\t', '  ', ' \t ', '\x0b')

    def ending(self):
        return '\r\n' if self.chance(0.7) else self.some('\n', '\n', '\r', '', '\r\r\n', '\n\r', ' \r\n')

    def number(self):
        return self.some('0', '1', '2', '80', '443', '8080', '65535', '65536', '007', '2147483647', '2147483648',
                         '4294967295', '4294967296', '4294967297', '18446744073709551617', '', 'x', '1x', '-1', '+1',
                         str(self.r.randrange(10**12)))

    def token(self):
        n = self.some(1, 2, 3, 5, 12, 19, 20, 21, 49, 50, 51, 52, self.r.randrange(80))
        return ''.join(self.r.choices(TOKEN, k=n))

    def case(self, text):
        style = int(self.r.random() * 5)
        if style == 0:
            return text.lower()
        if style == 1:
            return text.upper()
        if style == 2:
            return ''.join(self.some(c.lower(), c.upper()) for c in text)
        return text

    def sequence(self, one):
        """One to three packets of a kind; the edges of all."""
        stream, edges = b'', []
        for _ in range(self.some(1, 1, 1, 2, 2, 3)):
            packet, ends = one()
            edges += [len(stream) + e for e in ends]
            stream += packet
        return stream, edges

    # -- the types --

    def raw(self):
        data = self.noise(self.size())
        return data, [1, len(data)]

    def prefixed(self, head):
        def one():
            n = min(self.size(), 255) if head == 1 else self.size()
            if head == 4 and self.chance(0.25):
                return self.some(*EDGES_32).to_bytes(4, 'big') + self.noise(self.some(0, 1, 4)), [4]
            if head == 2 and self.chance(0.1):
                return self.some(0x7fff, 0x8000, 0xffff).to_bytes(2, 'big'), [2]
            return n.to_bytes(head, 'big') + self.noise(n), [head, head + n]
        return self.sequence(one)

    def sunrm(self):
        def one():
            last = 0x80000000 if self.chance(0.6) else 0
            if self.chance(0.25):
                return (self.some(*EDGES_32) & 0x7fffffff | last).to_bytes(4, 'big') + self.noise(2), [4]
            n = self.size()
            return (n | last).to_bytes(4, 'big') + self.noise(n), [4, 4 + n]
        return self.sequence(one)

    def asn1_tag(self):
        first = self.r.randrange(256)
        if self.chance(0.6):
            return bytes([first & 0xe0 | self.some(1, 2, 4, 16, 30)])
        more = bytes(0x80 | self.r.randrange(128) for _ in range(self.some(0, 0, 1, 2, 5)))
        return bytes([first | 0x1f]) + more + bytes([self.r.randrange(128)])

    def asn1(self):
        def one():
            tag, n = self.asn1_tag(), self.size()
            octets = self.some(0, 1, 2, 3, 4)
            if self.chance(0.1):
                octets = self.some(0, 5, 5, 6, 127)
                length, n = bytes([0x80 | octets]) + self.some(self.noise, bytes)(self.some(0, abs(octets - 1), octets)), 0
            elif self.chance(0.15):
                length = b'\x84' + self.some(*EDGES_32).to_bytes(4, 'big')
            elif octets == 0:
                n &= 127
                length = bytes([n])
            else:
                n = min(n, 255) if octets == 1 else n
                length = bytes([0x80 | octets]) + n.to_bytes(octets, 'big')
            head = len(tag) + len(length)
            return tag + length + self.noise(n), [len(tag), head, head + n]
        return self.sequence(one)

    def cdr(self):
        def one():
            flags = self.r.randrange(4)
            order = 'little' if flags & 1 else 'big'
            n = self.size()
            claimed = self.some(*EDGES_32) if self.chance(0.2) else n
            magic = b'GIOP' if self.chance(0.95) else self.some(b'GIOp', b'giop', b'\0IOP', b'GIO')
            return (magic + bytes([1, self.r.randrange(4), flags, self.r.randrange(8)]) + claimed.to_bytes(4, order)
                    + self.noise(n)), [4, 8, 12, 12 + n]
        return self.sequence(one)

    def fcgi(self):
        def one():
            n, padding = self.size(), self.some(0, 1, 7, 8, 255, self.r.randrange(256))
            claimed = self.some(0x7fff, 0x8000, 0xfffe, 0xffff) if self.chance(0.08) else n
            version = 1 if self.chance(0.95) else self.some(0, 2, 255)
            return (bytes([version, self.r.randrange(1, 12)]) + self.noise(2) + claimed.to_bytes(2, 'big')
                    + bytes([padding, 0]) + self.noise(n + padding)), [1, 6, 8, 8 + n, 8 + n + padding]
        return self.sequence(one)

    def tpkt(self):
        def one():
            n = self.size()
            claimed = self.some(0, 1, 2, 3, 4, 5, 0x7fff, 0x8000, 0xffff) if self.chance(0.2) else n + 4
            version = 3 if self.chance(0.95) else self.some(0, 2, 4, 131)
            return bytes([version, self.r.randrange(256)]) + claimed.to_bytes(2, 'big') + self.noise(n), [4, 4 + n]
        return self.sequence(one)

    def line(self):
        def one():
            n = self.size()
            end = self.some(b'\n', b'\n', b'\r\n', b'', bytes([self.delimiter]), bytes([self.delimiter]))
            return self.noise(n) + end, [n, n + len(end)]
        return self.sequence(one)

    def ssl_tls(self):
        def one():
            n = self.size()
            if self.chance(0.35):
                claimed = self.some(0, 1, 2, 3, 4, 0x7fff) if self.chance(0.3) else n + 3
                return (0x8000 | claimed).to_bytes(2, 'big') + self.some(b'\1', b'\1', b'\1', b'\0', b'\2') + b'\3' \
                    + bytes([self.r.randrange(4)]) + self.noise(n), [2, 5, 5 + n]
            claimed = self.some(0x4000, 0x7fff, 0x8000, 0xffff) if self.chance(0.1) else n
            content = self.some(20, 21, 22, 23, 24, 0, 127, 128, 255)
            return bytes([content, 3, self.some(0, 1, 2, 3, 4, 1)]) + claimed.to_bytes(2, 'big') + self.noise(n), \
                [5, 5 + n]
        return self.sequence(one)

    # -- http --

    def host(self):
        return self.some('example.com', 'EXAMPLE.com', 'localhost', '127.0.0.1', '[::1]', '[fe80::1%25eth0]', '', 'a', '[')

    def path(self):
        return self.some('', '/', '/index.html', '/a/b?c=d:80#e', '/%20%zz', '//', '/x' * self.r.randrange(20), '?q', ':')

    def uri(self):
        kind = int(self.r.random() * 9)
        if kind == 0:
            return self.some('*', '**', '*/', '', 'x', ':', '?')
        if kind <= 2:
            return self.path() or '/'
        if kind <= 6:
            scheme = self.case(self.some('http', 'https', 'http', 'https', 'ftp', 'httpx', 'ws'))
            port = ':' + self.number() if self.chance(0.5) else ''
            return scheme + self.some('://', '://', '://', ':/', ':', '') + self.host() + port + self.path()
        if kind == 7:
            return self.host() + ':' + self.number()
        return self.token() + self.some('', ':', '/') + self.path()

    def version(self):
        if self.chance(0.7):
            return 'HTTP/' + self.some('1.1', '1.0', '0.9', '2.0', '1.1')
        return self.some('HTTP/', 'http/', 'HTTP', 'HTP/', '') + self.number() + self.some('.', '.', '', ',', '..') \
            + self.number() + self.some('', '', ' ', 'x', ' x')

    def request(self):
        method = self.some(*METHODS) if self.chance(0.75) else self.some(self.case('get'), self.token(), 'M-SEARCH', '', 'G T')
        version = self.spaces() + self.version() if self.chance(0.85) else self.some('', ' ', '\t ')
        return method + self.spaces() + self.uri() + version

    def response(self):
        status = self.some('200', '404', '100', '', '0', '99999999999', '20x', '-1') if self.chance(0.5) else '301'
        phrase = self.some('OK', 'Not Found', '', 'caf\xe9', ' two  words ', '\t')
        return self.version() + self.spaces() + status + self.some(' ', ' ', ' ', '', '\t', '  ') + phrase

    def header(self):
        name = self.case(self.some(*HEADERS)) if self.chance(0.7) else self.some(self.token(), self.token(), '', 'a--b', '-a')
        colon = ':' if self.chance(0.92) else self.some('', ' :', ';', '::', '\t:')
        value = self.some('', 'x', '12', 'a: b', 'text/html; q=0.5', ' two  words ', 'caf\xe9', self.token())
        text = name + colon + self.spaces() + value
        while self.chance(0.12):
            text += self.ending() + self.some(' ', '\t', ' ', '') + self.some('more', '', 'x: y')
        return text

    def http_line(self, headers):
        what = self.r.random()
        if what < (0.1 if headers else 0.5):
            return self.request()
        if what < (0.15 if headers else 0.8):
            return self.response()
        if what < (0.87 if headers else 0.92):
            return self.header()
        return self.some('', '', 'x', '\r', ' ', 'xy')

    def http(self, headers):
        def one():
            text = self.http_line(headers)
            data = (text + self.ending()).encode('latin-1')
            return data, [len(text.encode('latin-1')), len(data)]
        stream, edges = self.sequence(one)
        if self.chance(0.4):
            stream += self.some(b'x', b' x', b'\t', b'\r\n', b'\n')
        return stream, edges

    # -- cases --

    def stream(self, kind):
        if kind in ('raw', '0'):
            return self.raw()
        if kind in ('1', '2', '4'):
            return self.prefixed(int(kind))
        if kind.startswith('http'):
            return self.http(kind.startswith('httph'))
        return getattr(self, kind)()

    def cut(self, stream, edges):
        at = self.some(*edges) + self.some(-2, -1, -1, 0, 1) if self.chance(0.7) else self.r.randrange(len(stream) + 1)
        return stream[:max(at, 0)]

    def mutate(self, stream):
        data = bytearray(stream)
        for _ in range(self.some(1, 1, 1, 2, 4)):
            at = self.r.randrange(min(len(data), self.some(6, 24, 400)) + 1)
            what = int(self.r.random() * 6)
            if what == 0:
                data[at:at] = self.noise(1)
            elif what == 1:
                del data[at:at + self.some(1, 1, 2, 5)]
            elif what == 2:
                data[at:at] = self.some(*SPECIAL).encode('latin-1')
            elif what == 3:
                data[at:at] = data[at:at + self.some(1, 2, 8, 30)]
            elif at < len(data):
                data[at] = self.some(0, 1, 0x7f, 0x80, 0xff, data[at] ^ 1 << self.r.randrange(8), data[at] ^ 0x80,
                                     ord(self.some(*SPECIAL)))
        return bytes(data)

    def limit(self, edges):
        if self.chance(0.25):
            return self.some(*EDGES_32)
        return max(0, self.some(*edges) + self.some(-5, -4, -2, -1, 0, 0, 1, 2))

    def request_line(self, number, kind, progress):
        """progress: 0..1 through a type's cases; whole streams first, then cuts, then mutations."""
        self.delimiter = self.some(10, 10, 0, 59, 128, 255, self.r.randrange(256)) if kind == 'line' else 10
        stream, edges = self.stream(kind)
        if progress > 0.35 and self.chance(0.7):
            stream = self.cut(stream, edges)
        if progress > 0.65 and self.chance(0.8):
            stream = self.mutate(stream)
        size = self.limit(edges) if self.chance(0.4) else 0
        length = self.limit(edges) if self.chance(0.6 if kind == 'line' else 0.25) else 0
        return f'{number} {kind} {size} {length} {self.delimiter} {stream.hex() or "-"}'
