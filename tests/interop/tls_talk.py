"""What the interoperability scripts of TLS share: a program that is spoken to line by line, with a deadline for each answer."""
import os
import select
import subprocess
import sys
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'cli'))
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from clitest import SECONDS, expect  # noqa: E402


class Talk:
    """A program in the background; `text` is what it has said, stdout and stderr together."""

    def __init__(self, *args, **more):
        self.args, self.text, self.seen = args, b'', 0
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        for f in (self.p.stdin, self.p.stdout):
            try:
                f.close()
            except BrokenPipeError:
                pass

    def say(self, data):
        self.p.stdin.write(data)
        self.p.stdin.flush()

    def until(self, word):
        """Waits for the word behind what was waited for before; answers what stood before it."""
        deadline = time.monotonic() + SECONDS
        while (at := self.text.find(word, self.seen)) < 0:
            left = deadline - time.monotonic()
            expect(left > 0 and select.select([self.p.stdout], [], [], left)[0], self.args, 'does not say', word, 'but', self.text)
            part = os.read(self.p.stdout.fileno(), 1 << 16)
            expect(part, self.args, 'ended without', word, ':', self.text)
            self.text += part
        before = self.text[self.seen:at]
        self.seen = at + len(word)
        return before

    def end(self):
        """Its input ends; the rest of what it says, and its exit code."""
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        rest = self.p.stdout.read()
        self.text += rest
        return rest, self.p.wait(timeout=SECONDS)
