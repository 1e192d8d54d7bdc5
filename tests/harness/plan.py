"""What there is to run: every test program found in the tree, as a list of jobs.

A file joins by being dropped into its folder; a comment `runner: tag, tag` in its first 30 lines tells what is special:
    serial       runs alone: it measures time or counts descriptors
    tsan         runs in the ThreadSanitizer build too (storm programs always do)
    no-asan      not in the AddressSanitizer build
    all          only under --all
    exact        a conformance program that is run under the profiles that lose nothing alone: it needs a world that stands
    timeout N    seconds instead of the suite's
    release      the program (a script) wants the release build's command instead of the sanitized one
    tree         a check that looks at sources only, and needs no build
"""
import fnmatch
import os
import re
from dataclasses import dataclass, field

C_SUITES = ('unit', 'conformance', 'fault', 'storm')
SCRIPT_SUITES = ('cli', 'interop', 'examples')
PROFILES_EXACT = ('short', 'eintr', 'eagain')   # the conformance suite passes unchanged under these
PROFILES_DRY = ('eagain', 'gone')                # what a program tagged `memory` never reaches: its bytes pass no system call
PROFILES_SURVIVE = ('nofd', 'nomem', 'gone')    # calls fail here; nothing crashes, hangs or is reported
TIMEOUT = {'unit': 60, 'conformance': 120, 'fault': 240, 'storm': 120, 'check': 180, 'fuzz': 120}
TIMEOUT_ALL = {'fault': 900, 'storm': 600, 'fuzz': 300}
FUZZ_RUNS, FUZZ_SECONDS = 300000, 60

SANITIZER_ENV = {
    # handle_*=2: cmocka may not take the signals that a sanitizer reports.
    'ASAN_OPTIONS': 'detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1:'
                    'allocator_may_return_null=1:handle_segv=2:handle_sigbus=2:handle_sigfpe=2:handle_sigill=2:exitcode=99',
    'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
    'TSAN_OPTIONS': 'second_deadlock_stack=1:history_size=4:handle_segv=2:handle_sigbus=2:exitcode=66',
}


@dataclass
class Job:
    id: str
    suite: str
    build: str              # asan, tsan, release, fuzz; '' none
    target: str             # of ninja
    argv: list
    timeout: int
    serial: bool = False
    mode: str = 'auto'      # see execute.judge
    env: dict = field(default_factory=dict)
    source: str = ''


def tags_of(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        head = ''.join(line for _, line in zip(range(30), f))
    m = re.search(r'runner:\s*([a-z0-9, -]+)', head)
    tags = {}
    for tag in (m.group(1) if m else '').split(','):
        word, _, value = tag.strip().partition(' ')
        if word:
            tags[word] = value.strip() or True
    unknown = set(tags) - {'serial', 'tsan', 'no-asan', 'all', 'timeout', 'release', 'tree', 'memory', 'exact'}
    if unknown:
        raise SystemExit(f'{path}: unknown runner tag: {", ".join(sorted(unknown))}')
    return tags


def files_in(folder, accept):
    return sorted(n for n in os.listdir(folder) if accept(os.path.join(folder, n))) if os.path.isdir(folder) else []


def is_script(path):
    return os.path.isfile(path) and os.access(path, os.X_OK)


def is_fuzz_target(path):
    if not path.endswith('.c'):
        return False
    with open(path, encoding='utf-8') as f:
        return re.search(r'^int LLVMFuzzerTestOneInput\([^;]*\)\s*\{', f.read(), re.M) is not None


class Plan:
    def __init__(self, root, builds, every, seed=None):
        self.root, self.builds, self.every = root, builds, every
        self.env = dict(os.environ, **SANITIZER_ENV)
        self.env.update(GS_ROOT=root, GS_BUILD=self.dir('asan'), GS_RELEASE=self.dir('release'), LC_ALL='C.UTF-8',
                        CMOCKA_MESSAGE_OUTPUT='TAP', GENSOCK=self.dir('asan', 'cli', 'gensock'),
                        GS_EXAMPLES=self.dir('asan', 'examples'), PYTHONDONTWRITEBYTECODE='1')
        for name in ('GS_FAULT', 'GS_FAULT_ONLY', 'CMOCKA_XML_FILE'):
            self.env.pop(name, None)
        if every:
            self.env['GS_TEST_LONG'] = '1'
        if seed:
            self.env['GS_TEST_SEED'] = str(seed)

    def dir(self, build, *rest):
        return os.path.join(self.builds, build, *rest)

    def timeout(self, suite, tags):
        if 'timeout' in tags:
            return int(tags['timeout']) * (4 if self.every else 1)
        return (TIMEOUT_ALL if self.every else TIMEOUT).get(suite, TIMEOUT.get(suite, 120))

    def program(self, suite, name, build, suffix='', mode='tap', **env):
        source = os.path.join(self.root, 'tests', suite, name + '.c')
        tags = tags_of(source)
        target = f'tests/{suite}_{name}'
        return Job(id=f'{suite}/{name}{suffix}', suite=suite, build=build, target=target,
                   argv=tsan_prefix(build) + [self.dir(build, target)], timeout=self.timeout(suite, tags),
                   serial='serial' in tags or suite == 'storm', mode=mode, env=dict(self.env, **env), source=source)

    def c_programs(self, suite):
        folder = os.path.join(self.root, 'tests', suite)
        for name in files_in(folder, lambda p: p.endswith('.c')):
            name = name[:-2]
            tags = tags_of(os.path.join(folder, name + '.c'))
            if 'all' in tags and not self.every:
                continue
            storm = suite == 'storm'
            if 'no-asan' not in tags and (not storm or self.every):
                yield self.program(suite, name, 'asan')
            if storm or 'tsan' in tags:
                yield self.program(suite, name, 'tsan', '@tsan')
            if suite == 'conformance' and 'no-asan' not in tags:
                if not self.every and name != 'tcp':
                    continue
                dry = PROFILES_DRY if 'memory' in tags else ()
                for p in PROFILES_EXACT:
                    if p in dry:
                        continue
                    yield self.program(suite, name, 'asan', '+' + p, GS_FAULT=p + ':1')
                for p in PROFILES_SURVIVE:
                    if p in dry or 'exact' in tags:
                        continue
                    # A failed assertion leaves the test in the middle, with what it had opened.
                    quiet = SANITIZER_ENV['ASAN_OPTIONS'].replace('detect_leaks=1', 'detect_leaks=0')
                    yield self.program(suite, name, 'asan', '+' + p, 'survive', GS_FAULT=p + ':1:32', ASAN_OPTIONS=quiet)

    def scripts(self, suite):
        folder = os.path.join(self.root, 'tests', suite)
        for name in files_in(folder, is_script):
            path = os.path.join(folder, name)
            tags = tags_of(path)
            if 'all' in tags and not self.every:
                continue
            env = dict(self.env)
            if 'release' in tags:
                env.update(GENSOCK=self.dir('release', 'cli', 'gensock'), GS_BUILD=self.dir('release'),
                           GS_EXAMPLES=self.dir('release', 'examples'))
            yield Job(id=f'{suite}/{name}', suite=suite, build='release' if 'release' in tags else 'asan', target='all',
                      argv=[path], timeout=self.timeout(suite, tags), serial='serial' in tags, env=env, source=path)

    def checks(self):
        folder = os.path.join(self.root, 'tests')
        for name in files_in(folder, lambda p: is_script(p) and os.path.basename(p).startswith('check-')):
            path = os.path.join(folder, name)
            tags = tags_of(path)
            yield Job(id=f'check/{name[6:]}', suite='check', build='' if 'tree' in tags else 'release', target='all', argv=[path],
                      timeout=self.timeout('check', tags), env=self.env, source=path)

    def fuzz(self):
        folder = os.path.join(self.root, 'fuzz')
        for file in files_in(folder, is_fuzz_target):
            name, source = file[:-2], os.path.join(folder, file)
            target = f'fuzz/fuzz_{name}'
            harness = os.path.join(self.root, 'tests', 'harness', 'fuzz.py')
            common = ['python3', harness, self.dir('fuzz', target), os.path.join(folder, 'corpus', name)]
            job = dict(suite='fuzz', build='fuzz', target=target, timeout=self.timeout('fuzz', {}), env=self.env, source=source)
            yield Job(id=f'fuzz/{name}', argv=common + ['replay'], **job)
            if self.every:
                yield Job(id=f'fuzz/{name}+run', argv=common + ['run', str(FUZZ_RUNS), str(FUZZ_SECONDS)], **job)

    def jobs(self, patterns=()):
        found = []
        for suite in C_SUITES:
            found += self.c_programs(suite)
        for suite in SCRIPT_SUITES:
            found += self.scripts(suite)
        found += self.checks()
        found += self.fuzz()
        return [j for j in found if matches(j.id, patterns)]


def matches(job_id, patterns):
    return not patterns or any(p in job_id or fnmatch.fnmatch(job_id, p) for p in patterns)


def tsan_prefix(build):
    """ThreadSanitizer of clang 14 cannot map its shadow where the kernel randomises more than 28 bits."""
    if build != 'tsan':
        return []
    try:
        with open('/proc/sys/vm/mmap_rnd_bits') as f:
            return ['setarch', '-R'] if int(f.read()) > 28 else []
    except OSError:
        return []
