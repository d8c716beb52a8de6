#!/usr/bin/env python3
"""Writes results as the benchmarks do, made up but of the shape of real ones, the same every time.

    generate.py full            two runs, three targets, all parts that a result can have, limits, scores
    generate.py one             one result with nothing optional
    generate.py many COUNT      so many results of one run
    generate.py hostile         texts that want to be markup, script, formulas
"""
import json
import math
import random
import sys

random.seed(1)
VALUES = 500  # drawn for a histogram; each stands for many


def line(**members):
    print(json.dumps(members, separators=(',', ':')))


def run(number, benchmark, options, **more):
    identity = f'{number:016x}'
    line(type='run', format=1, id=identity, benchmark=benchmark, version='0.1.0', commit='0123456789ab', time=f'2026-11-26T02:{number:02}:00Z',
         host='node17', kernel='6.1.0-28-amd64', processor='AMD EPYC 9354 32-Core Processor', processors=64, memory=405 << 30,
         governor='performance', options=options, **more)
    return identity


def bucket(value):
    """The bounds of the bucket of a value: 128 steps for each doubling."""
    shift = max(0, value.bit_length() - 8)
    low = value >> shift << shift
    return low, low + (1 << shift) - 1


def histogram(count, median, spread, tail=0.01):
    counts = {}
    values = []
    for i in range(min(count, VALUES)):
        value = median * math.exp(random.gauss(0, spread))
        if random.random() < tail:
            value *= 3 + 20 * random.random() ** 3
        values.append(max(1, int(value)))
    for value in values:
        counts[bucket(value)] = counts.get(bucket(value), 0) + max(1, count // len(values))
    total = sum(counts.values())
    return {'count': total, 'sum': int(sum((low + high) / 2 * number for (low, high), number in counts.items())), 'min': min(values), 'max': max(values),
            'buckets': [[low, high, number] for (low, high), number in sorted(counts.items())]}


def quantile(latency, share):
    wanted = share * latency['count']
    seen = 0
    for low, high, number in latency['buckets']:
        seen += number
        if seen >= wanted:
            return (low + high) // 2
    return latency['max']


def result(identity, benchmark, target, phase, parameters, rate, size, noise=0.03, repeats=5, optional=True, **more):
    samples = [rate * math.exp(random.gauss(0, noise)) for _ in range(repeats)]
    ordered = sorted(samples)
    median = ordered[len(ordered) // 2]
    operations = max(1, int(rate * 0.5))
    members = {
        'type': 'result', 'run': identity, 'benchmark': benchmark, 'target': target, 'phase': phase, 'parameters': parameters,
        'operations': operations * repeats, 'bytes': operations * repeats * size, 'errors': 0, 'repeats': repeats,
        'samples': {'seconds': [operations / sample for sample in samples], 'ops_per_s': samples, 'bytes_per_s': [sample * size for sample in samples]},
    }
    for name, factor in (('ops_per_s', 1), ('bytes_per_s', size)):
        members.update({name: median * factor, name + '_low': ordered[0] * factor, name + '_high': ordered[-1] * factor})
    if optional:
        width = parameters.get('depth', 1) * parameters.get('processes', 1)
        latency = histogram(operations * repeats, 1e9 / rate * width, 0.25)
        members.update(p50_ns=quantile(latency, 0.5), p99_ns=quantile(latency, 0.99), p999_ns=quantile(latency, 0.999), max_ns=latency['max'], latency=latency)
    members.update(more)
    line(**members)
    return members


def stages(count, total, storage):
    shares = {'client_queue': 0.05, 'wire': 0.34, 'server_queue': 0.12, 'handler': 0.2, 'storage': storage, 'reply': 0.15}
    whole = sum(share for name, share in shares.items() if name != 'reply')  # which is part of wire
    made = {name: histogram(count if name != 'reply' else count // 16, max(1, total * share / whole), 0.1, tail=0) for name, share in shares.items() if share > 0}
    return {'total': histogram(count, total, 0.1, tail=0), **made}


def full():
    targets = [('benchfs:', 1.0), ('posix:/dev/shm/bench', 1.6), ('chfs:', 0.62)]
    sizes = [4096, 65536, 1 << 20]
    io = run(1, 'io', {'target': [name for name, _ in targets], 'size': sizes, 'depth': [1, 8, 32], 'processes': [1, 2, 4], 'repeats': 5},
             configuration={'benchfs:': {'store': {'engine': 'mem'}, 'cluster': {'chunk_size': 1 << 20}}}, transports=['shm', 'tcp'])
    for size, memcpy in ((4096, 40e9), (65536, 24e9), (1 << 20, 12e9)):
        line(type='limit', run=io, name='memcpy', unit='B/s', size=size, depth=1, value=memcpy, low=memcpy * 0.97, high=memcpy * 1.02)
    for size, network in ((4096, 1.6e9), (65536, 9.6e9), (1 << 20, 11.2e9)):
        line(type='limit', run=io, name='network-bandwidth', unit='B/s', size=size, depth=8, value=network, low=network * 0.96, high=network * 1.03)
    line(type='limit', run=io, name='network-latency', unit='ns', size=64, depth=1, value=1100, low=1050, high=1180)
    line(type='limit', run=io, name='device-write', unit='B/s', size=1 << 20, depth=16, value=2.7e9, low=2.5e9, high=2.9e9)
    for target, factor in targets:
        for phase, speed in (('write', 1.0), ('read', 1.35)):
            for size in sizes:
                for depth in (1, 8, 32):
                    for processes in (1, 2, 4):
                        time = (3000 + size / 9) / factor
                        rate = speed * 1e9 / time * min(depth, 4) ** 0.5 * processes ** 0.8
                        more = {}
                        if target == 'benchfs:':
                            operations = int(rate)
                            more['stages'] = stages(operations, time, 0.3 if phase == 'write' else 0.1)
                            more['operations_by_rpc'] = {
                                f'{phase.upper()}_CHUNK': {'count': operations, 'stages': stages(operations, time, 0.3)},
                                'EXTEND': {'count': operations // 9 + 1, 'stages': stages(operations // 9 + 1, 2500, 0.02)}}
                            more['servers'] = [{'id': i, 'requests': int(operations / 4 * (1 + 0.12 * random.gauss(0, 1))), 'bytes': operations // 4 * size,
                                                'busy': 0.5 + 0.1 * random.random()} for i in range(4)]
                            more['counters'] = {'client': {'loop_blocks': operations // 3, 'credit_waits': 7}, 'server': {'loop_busy_ns': operations * 900, 'journal_bytes': 4096}}
                        more['series'] = [{'t': 0.02 * (i + 1), 'ops_per_s': rate * (1 + 0.05 * random.gauss(0, 1)) * (0.6 if i < 3 else 1),
                                           'bytes_per_s': rate * size} for i in range(40)]
                        for moment in more['series']:
                            moment['bytes_per_s'] = moment['ops_per_s'] * size
                        if phase == 'read' and target.startswith('posix'):
                            more['warnings'] = ['read may come from the page cache: the working set of 256 MiB fits in memory']
                        made = result(io, 'io', target, phase, {'size': size, 'depth': depth, 'processes': processes, 'threads': 1, 'servers': 4}, rate, size, **more)
                        if target == 'benchfs:':
                            line(type='explanation', run=io, benchmark='io', target=target, phase=phase, outcome='decided', parameters=made['parameters'],
                                 text=f'{phase} of {size} bytes: most time goes to the way there and back; what limits it is waking processes that sleep',
                                 stage='wire', stage_p99='wire', resource='wakeup' if depth == 1 else 'memory-copy', notes=['without it the next limit would be the handler'],
                                 limit={'unit': 'op/s', 'measured': rate, 'value': rate * 1.5, 'low': rate, 'high': 2 * rate, 'ratio': 0.67},
                                 next={'stage': 'handler', 'resource': 'server-processor', 'gain': 1.4})
    md = run(2, 'md', {'target': ['benchfs:', 'posix:/dev/shm/bench'], 'files': 2000, 'servers': [1, 2, 4, 8], 'repeats': 5})
    for target, factor in targets[:2]:
        for phase, rate in (('create', 195511), ('stat', 159240 * 2), ('unlink', 213664)):
            for servers in (1, 2, 4, 8):
                grown = rate * servers ** 0.85 if target == 'benchfs:' else rate * 0.9
                result(md, 'md', target, phase, {'files': 2000, 'processes': 2, 'servers': servers}, grown, 0, noise=0.08,
                       errors=3 if phase == 'unlink' and servers == 8 and target == 'benchfs:' else 0)
    names = run(4, 'hash', {'hash': ['xxhash64', 'md5'], 'repeats': 5})
    for name, speed in (('xxhash64', 6e7), ('md5', 4e6)):
        for size in (8, 64):
            result(names, 'hash', 'hash', 'speed', {'hash': name, 'size': size}, speed, size, optional=False, measures={'ns_per_key': 1e9 / speed})
        line(type='result', run=names, benchmark='hash', target='hash', phase='spread', parameters={'hash': name, 'size': 8}, repeats=1, measures={'max_mean': 1.07})
    score = run(3, 'io500', {'target': ['benchfs:', 'posix:/dev/shm/bench'], 'scale': 'small'})
    for target, factor in targets[:2]:
        for phase, rate, size in (('ior-easy-write', 5200, 1 << 20), ('mdtest-easy-write', 150000, 0), ('ior-hard-write', 31000, 47008), ('mdtest-hard-write', 90000, 3901),
                                  ('find', 900000, 0), ('ior-easy-read', 7100, 1 << 20), ('mdtest-easy-stat', 310000, 0), ('ior-hard-read', 52000, 47008)):
            result(score, 'io500', target, phase, {'processes': 2}, rate * factor, size, repeats=1)
        line(type='score', run=score, benchmark='io500', target=target, bandwidth_gib_s=3.41 * factor, metadata_kiops=187.2 * factor, score=25.3 * factor, note='not a submission')
    line(type='a type of a later version', run=io, value=1)


def sweep():
    """Targets that are the same but for their servers, beside one that has none; and latencies over less than two decades,
    over three, and all alike."""
    numbers = [1, 2, 4]
    identity = run(1, 'ior', {'target': [f'benchfs:servers={servers},store=file' for servers in numbers] + ['posix:/scratch']})
    for size in (65536, 1 << 20):
        for phase, rate, spread, tail in (('write', 2000, 0.6, 0.2), ('read', 9000, 1.2, 0.02), ('sync', 150, 0.02, 0)):
            for servers in numbers + [None]:
                target, more = ('posix:/scratch', {}) if servers is None else (f'benchfs:servers={servers},store=file', {'servers': servers})
                result(identity, 'ior', target, phase, {'size': size, 'depth': 4, 'processes': 2, **more}, rate * (servers or 1.5) ** 0.8, size,
                       latency=histogram(2000, 8e9 / rate, spread, tail))


def one():
    identity = run(1, 'md', {})
    result(identity, 'md', 'posix:/tmp', 'create', {}, 1000, 0, repeats=1, optional=False)


def many(count):
    identity = run(1, 'io', {'target': ['benchfs:', 'posix:/tmp']})
    made = 0
    while made < count:
        for target in ('benchfs:', 'posix:/tmp'):
            for phase in ('write', 'read'):
                if made < count:
                    step = made // 4
                    size = 512 << step % 14
                    depth = 1 + step // 14 % 64
                    processes = 1 << step // 14 // 64 % 8
                    result(identity, 'io', target, phase, {'size': size, 'depth': depth, 'processes': processes}, 1e9 / (2000 + size / 8) * depth ** 0.4 * processes ** 0.7, size, repeats=3)
                    made += 1


HOSTILE = ['</script><script>document.title="owned"</script>', '<img src=x onerror="document.title=\'owned\'">', '=HYPERLINK("http://example.org")', '"; alert(1); //',
           "${document.title='owned'}", '<!-- <script>', '&lt;b&gt;', '\u202eevil\u2028\u2029', '__proto__', 'a' * 400]


def hostile():
    identity = run(1, HOSTILE[0], {'target': HOSTILE, HOSTILE[1]: HOSTILE[0]}, configuration={HOSTILE[0]: HOSTILE[1]})
    for target in HOSTILE:
        for size in (1, 2):
            result(identity, HOSTILE[0], target, HOSTILE[1], {HOSTILE[0]: size, '__proto__': 1, 'constructor': HOSTILE[6]}, 1000, 10, warnings=[HOSTILE[0], HOSTILE[1]],
                   stages={HOSTILE[0]: histogram(10, 1000, 0.1), '__proto__': histogram(10, 1000, 0.1)}, servers=[{'id': 0, 'requests': 3, 'name': HOSTILE[0]}],
                   operations_by_rpc={HOSTILE[1]: {'count': 10, 'stages': {'wire': histogram(10, 1000, 0.1)}}})
    line(type='limit', run=identity, name=HOSTILE[0], unit=HOSTILE[1], size=1, depth=1, value=1e9)
    line(type='score', run=identity, benchmark='io500', target=HOSTILE[0], bandwidth_gib_s=1, metadata_kiops=1, score=1, note=HOSTILE[1])
    line(type='explanation', run=identity, text=HOSTILE[0], phase=HOSTILE[1], target=HOSTILE[0])


if __name__ == '__main__':
    kind = sys.argv[1]
    if kind == 'many':
        VALUES = 100
        many(int(sys.argv[2]))
    else:
        {'full': full, 'sweep': sweep, 'one': one, 'hostile': hostile}[kind]()
