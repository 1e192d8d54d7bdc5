"""Progress lines while tests run, and the closing: failures with their output, skips with reasons, slowest, counts."""
import re
import sys
import threading
import time

OUTPUT_LINES = 60


class Report:
    def __init__(self, quiet_seconds=15):
        self.began = time.monotonic()
        self.lock = threading.Lock()
        self.rows = []        # (job, outcome)
        self.running = {}
        self.total = 0
        self.quiet_seconds = quiet_seconds
        self.last = self.began
        self.stop = threading.Event()

    def say(self, text):
        with self.lock:
            self.last = time.monotonic()
            print(f'[{self.last - self.began:4.0f} s] {text}', flush=True)

    def watch(self):
        """A line when nothing was said for a while, so that nobody thinks it hangs."""
        while not self.stop.wait(1):
            if time.monotonic() - self.last > self.quiet_seconds:
                names = ', '.join(sorted(self.running)[:4]) or 'building'
                self.say(f'{len(self.rows)} of {self.total} programs done; running: {names}')

    def start(self, job):
        self.running[job.id] = time.monotonic()

    def finish(self, job, out):
        self.running.pop(job.id, None)
        self.rows.append((job, out))
        if out.failures:
            self.say(f'FAILED {job.id}: ' + '; '.join(out.problems + out.failed)[:300])
        for note in re.findall(r'^# note: (.*)$', out.log, re.M):
            self.say(f'{job.id}: {note}')

    def close(self):
        """Prints the closing and answers the exit code."""
        self.stop.set()
        self.rows.sort(key=lambda r: r[0].id)
        self.print_failures()
        self.print_skips()
        slow = sorted(self.rows, key=lambda r: -r[1].seconds)[:6]
        if len(self.rows) > 6 and slow[0][1].seconds >= 1:
            print('\nslowest: ' + ', '.join(f'{j.id} {o.seconds:.1f} s' for j, o in slow))
        passed = sum(o.passed for _, o in self.rows)
        failed = sum(o.failures for _, o in self.rows)
        skipped = sum(len(o.skipped) for _, o in self.rows)
        print(f'{len(self.rows)} programs in {time.monotonic() - self.began:.0f} s')
        sys.stderr.flush()
        print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else ''), flush=True)
        return 1 if failed or not passed else 0

    def print_failures(self):
        shown = set()
        for job, out in self.rows:
            if not out.failures:
                continue
            print(f'\n--- {job.id} ({job.source})')
            for what in out.problems + [f'not ok: {name}' for name in out.failed]:
                print(f'    {what}')
            lines = out.log.rstrip().splitlines()
            if out.log in shown:
                print('    | output as above')
                continue
            shown.add(out.log)
            if len(lines) > OUTPUT_LINES:
                print(f'    | … {len(lines) - OUTPUT_LINES} lines before')
            for line in lines[-OUTPUT_LINES:]:
                print(f'    | {line}')

    def print_skips(self):
        for job, out in self.rows:
            for name, reason in out.skipped:
                print(f'skipped {job.id}: {name}: {reason}')
