/* What was measured, indexed: benchmarks, and in each the targets, phases, parameters and settings.

   A *subject* is what is compared and has one colour all over the page: a target, and where several runs have
   measured the same target, that target in one run. A *setting* is one value for each parameter that varies.
   The *point* is the setting that a reader has chosen; figures show results at the point, or along one axis
   through it. */

// Characters that turn the direction of writing would reach beyond the text that has them; the data are ASCII.
const embedded = JSON.parse(document.getElementById('data').textContent.replace(/\\u(?:202[a-e]|206[6-9]|200[ef])/gi, '\\ufffd'));
const data = embedded.head;
const runs = data.runs;
const results = embedded.results;

/* What tells runs of one benchmark apart: the first property in which all differ. */
function runNames(group) {
  const ways = [
    run => run.label,
    run => run.version,
    run => run.commit && 'commit ' + String(run.commit).slice(0, 10),
    run => run.host,
    run => run.time && String(run.time).slice(0, 10),
    run => run.time && String(run.time).replace('T', ' ').replace(/:\d\dZ?$/, ''),
    run => run.time,
  ];
  for (const way of ways) {
    const names = group.map(way);
    if (names.every(name => typeof name === 'string' && name !== '') && new Set(names).size === names.length) return names;
  }
  return group.map(run => 'run ' + String(run.id).slice(0, 6));
}

const subjects = [];

/* Of a benchmark of one target in one run, the parameter that takes its place in comparisons: a text of several
   values, such as the name of a hash function. */
function comparedParameter(own) {
  if (new Set(own.map(result => JSON.stringify([result.run, result.target]))).size > 1) return undefined;
  const values = new Map();
  for (const result of own)
    for (const [name, value] of Object.entries(result.parameters)) if (typeof value === 'string') values.set(name, (values.get(name) || new Set()).add(value));
  return [...values.keys()].filter(name => values.get(name).size > 1 && values.get(name).size <= 12).sort((a, b) => values.get(b).size - values.get(a).size)[0];
}

/* A word stands for itself, a number says of what it is. */
function comparedText(parameter, value) {
  return /^[a-z]/i.test(value) ? value : `${parameter} ${value}`;
}

function addSubject(key, target, label) {
  let subject = subjects.find(each => each.key === key);
  if (!subject) {
    const index = subjects.length;
    subject = {index, key, target, label: label || '(no name)', color: `var(--c${index % 8})`, dash: ['', '7 3', '2 2', '8 3 2 3'][Math.floor(index / 8) % 4], hidden: false};
    subjects.push(subject);
  }
  return subject;
}

function makeSubjects(byBenchmark) {
  const targetKey = result => JSON.stringify([result.benchmark, result.target]);
  const measuredBy = new Map(); // benchmark and target → runs
  for (const result of results) measuredBy.set(targetKey(result), (measuredBy.get(targetKey(result)) || new Set()).add(result.run));
  const several = [...new Set([...measuredBy.values()].filter(set => set.size > 1).flatMap(set => [...set]))];
  const names = new Map(runNames(several.map(run => runs[run])).map((name, i) => [several[i], name]));
  for (const own of byBenchmark.values()) {
    const parameter = comparedParameter(own);
    for (const result of own) {
      const name = result.target.replace(/:$/, '');
      const run = measuredBy.get(targetKey(result)).size > 1 ? names.get(result.run) : null;
      const value = parameter === undefined ? null : result.parameters[parameter] ?? null;
      result.subject = addSubject(JSON.stringify([result.target, run, parameter, value]), result.target, value === null ? (run === null ? name : `${name} · ${run}`) : comparedText(parameter, value));
    }
    own.comparedParameter = parameter;
  }
}

/* Values that are scalars only; anything else cannot be an axis. */
function parameterValue(result, name) {
  const value = result.parameters[name];
  return ['number', 'string', 'boolean'].includes(typeof value) ? value : undefined;
}

function compareValues(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'number') return -1;
  if (typeof b === 'number') return 1;
  return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
}

/* Order in which parameters are taken for the axis of the bars. */
const axisPreference = ['size', 'transfer', 'block', 'record', 'files', 'servers', 'clients', 'processes', 'threads', 'depth'];
/* What a target has, where it is not chosen: a subject that has one value is not split by it. */
const targetParameters = ['servers'];
const scalingParameters = ['servers', 'clients', 'nodes', 'ranks', 'processes', 'threads', 'depth'];

class Benchmark {
  constructor(name, own) {
    this.name = name;
    this.results = own;
    this.runs = [...new Set(own.map(result => result.run))];
    this.comparedParameter = own.comparedParameter;
    this.subjects = subjects.filter(subject => own.some(result => result.subject === subject));
    this.phases = [...new Set(own.map(result => result.phase))];
    this.addClients();
    this.findParameters();
    this.choosePoint();
    this.measure = 'auto';
    this.phaseChosen = null; // all
  }

  /* Clients are processes times threads: an axis of its own when both vary. */
  addClients() {
    const varies = name => new Set(this.results.map(result => parameterValue(result, name))).size > 1;
    if (!varies('processes') || !varies('threads') || this.results.some(result => 'clients' in result.parameters)) return;
    for (const result of this.results) {
      const {processes, threads} = result.parameters;
      if (known(processes) && known(threads)) result.clients = processes * threads;
    }
  }

  findParameters() {
    const names = new Set();
    for (const result of this.results) for (const name of Object.keys(result.parameters)) names.add(name);
    this.varying = [];
    this.fixed = [];
    this.bySubject = []; // differ between subjects only: no settings
    this.values = new Map(); // parameter → values, ascending
    this.valuesOfPhase = new Map(); // phase → parameter → set of values
    for (const phase of this.phases) this.valuesOfPhase.set(phase, new Map());
    for (const name of names) {
      const values = new Set();
      for (const phase of this.phases) this.valuesOfPhase.get(phase).set(name, new Set());
      for (const result of this.results) {
        const value = parameterValue(result, name);
        if (value === undefined) continue;
        values.add(value);
        this.valuesOfPhase.get(result.phase).get(name).add(value);
      }
      if (values.size === 0 || name === this.comparedParameter) continue;
      this.values.set(name, [...values].sort(compareValues));
      if (values.size > 1 && (targetParameters.includes(name) && this.ofSubject(name) || this.namesTargets(name))) {
        this.bySubject.push(name);
        continue;
      }
      // A parameter that differs between phases only has nothing to choose.
      const chosen = this.phases.some(phase => this.valuesOfPhase.get(phase).get(name).size > 1);
      (chosen ? this.varying : this.fixed).push(name);
    }
    const rank = name => {
      const place = axisPreference.indexOf(name);
      return place < 0 ? axisPreference.length : place;
    };
    this.varying.sort((a, b) => rank(a) - rank(b) || this.values.get(b).length - this.values.get(a).length || compareValues(a, b));
    this.axis = this.varying[0];
  }

  /* Whether each subject has one value of it, or none. */
  ofSubject(name) {
    const values = new Map();
    for (const result of this.results) {
      const value = parameterValue(result, name);
      if (value === undefined) continue;
      if (values.has(result.subject) && values.get(result.subject) !== value) return false;
      values.set(result.subject, value);
    }
    return true;
  }

  /* Whether it says again what the target is, as an engine that is the target does. */
  namesTargets(name) {
    return this.results.every(result => parameterValue(result, name) === undefined || parameterValue(result, name) === result.target);
  }

  settingKey(result) {
    return JSON.stringify(this.varying.map(name => parameterValue(result, name) ?? null));
  }

  /* The point to start with: where most was measured; of equals the middle one. */
  choosePoint() {
    const counts = new Map();
    for (const result of this.results) {
      const key = this.settingKey(result);
      counts.set(key, (counts.get(key) || 0) + 1);
    }
    const most = Math.max(...counts.values());
    const keys = [...counts.keys()].filter(key => counts.get(key) === most)
      .map(key => JSON.parse(key)).sort((a, b) => {
        for (let i = 0; i < a.length; i++) {
          const order = compareValues(a[i], b[i]);
          if (order) return order;
        }
        return 0;
      });
    const middle = keys[Math.floor((keys.length - 1) / 2)];
    // Without a prototype: a parameter may be called __proto__.
    this.point = Object.setPrototypeOf(Object.fromEntries(this.varying.map((name, i) => [name, middle[i]])), null);
  }

  /* Whether a result is at the point, but for the parameters in `free`. A parameter that one phase does not
     vary, or does not have, does not take part there. */
  matches(result, free = []) {
    const own = this.valuesOfPhase.get(result.phase);
    return this.varying.every(name =>
      free.includes(name) || own.get(name).size < 2 || parameterValue(result, name) === this.point[name]);
  }

  at(phase, free = []) {
    return this.results.filter(result => result.phase === phase && !result.subject.hidden && this.matches(result, free));
  }

  visiblePhases() {
    return this.phaseChosen === null ? this.phases : [this.phaseChosen];
  }

  visibleSubjects() {
    return this.subjects.filter(subject => !subject.hidden);
  }

  measureOf(phase) {
    return this.measure !== 'auto' ? this.measure : this.naturalMeasure(phase);
  }

  naturalMeasure(phase) {
    const own = this.results.filter(result => result.phase === phase);
    if (own.some(result => result.bytes_per_s > 0)) return 'bytes_per_s';
    if (own.some(result => result.ops_per_s > 0)) return 'ops_per_s';
    return this.ownMeasures().find(key => own.some(result => known(result[key]))) || 'ops_per_s';
  }

  /* The measure, if it is a rate; else the rate that the phase has. */
  rateOf(phase) {
    const measure = this.measureOf(phase);
    if (!measures[measure].own) return measure;
    return this.results.some(result => result.phase === phase && result.bytes_per_s > 0) ? 'bytes_per_s' : 'ops_per_s';
  }

  /* Measures that are not rates. */
  ownMeasures() {
    return Object.keys(measures).filter(key => measures[key].own && this.results.some(result => known(result[key])));
  }

  pointText(free = []) {
    return this.varying.filter(name => !free.includes(name) && this.point[name] !== null && this.point[name] !== undefined)
      .map(name => `${name} ${parameterText(name, this.point[name])}`).join(', ');
  }
}

function parameterOrClients(result, name) {
  return name === 'clients' && result.clients !== undefined ? result.clients : parameterValue(result, name);
}

function settingText(result, names) {
  return names.filter(name => parameterValue(result, name) !== undefined)
    .map(name => `${name} ${parameterText(name, parameterValue(result, name))}`).join(', ');
}

/* Bytes that one operation moves. */
function transferSize(result) {
  for (const name of ['transfer', 'size', 'record', 'block'])
    if (known(result.parameters[name]) && result.parameters[name] > 0) return result.parameters[name];
  return result.bytes > 0 && result.operations > 0 ? result.bytes / result.operations : undefined;
}

/* How many operations are under way at once in all. */
function parallelism(result) {
  const {depth, processes, threads, ranks} = result.parameters;
  const factor = value => known(value) && value > 0 ? value : 1;
  return factor(depth) * factor(processes ?? ranks) * factor(threads);
}

/* Limits that hold for a result: of its own run, else of the last calibration on the same host. */
const limitsByRun = new Map();

function limitsFor(result) {
  if (data.limits.length === 0) return data.limits;
  if (!limitsByRun.has(result.run)) {
    const run = runs[result.run];
    let chosen = data.limits.filter(limit => limit.run === run.id);
    if (chosen.length === 0) {
      const there = runs.filter(each => each.host === run.host && data.limits.some(limit => limit.run === each.id));
      const last = there.sort((a, b) => compareValues(String(a.time), String(b.time))).pop();
      chosen = last ? data.limits.filter(limit => limit.run === last.id) : [];
    }
    // Of the transports only those that were used, if the run tells.
    const used = Array.isArray(run.transports) ? run.transports.map(String) : [];
    const fits = limit => !limit.transport || used.length === 0 || used.some(name => name.split(/\W+/).includes(limit.transport));
    if (chosen.some(limit => limit.transport && fits(limit))) chosen = chosen.filter(fits);
    limitsByRun.set(result.run, chosen);
  }
  return limitsByRun.get(result.run);
}

/* Bytes that all clients of a result go through. */
function footprintOf(result) {
  const {total, processes, threads} = result.parameters;
  if (known(total) && total > 0) return total * (known(processes) ? processes : 1) * (known(threads) ? threads : 1);
  return result.bytes > 0 && result.repeats > 0 ? result.bytes / result.repeats : undefined;
}

/* Of the limits of this name that for the nearest size, then number of processes, then footprint and depth. */
function limitNamed(result, name) {
  const off = (one, other) => one > 0 && other > 0 ? Math.abs(Math.log2(one / other)) : 0;
  const size = transferSize(result);
  const {processes} = result.parameters;
  const footprint = footprintOf(result);
  const depth = parallelism(result);
  let best;
  let distance = Infinity;
  for (const limit of limitsFor(result)) {
    if (limit.name !== name) continue;
    const away = 1e6 * off(limit.size, size) + 1e4 * off(limit.processes, known(processes) ? processes : 1) + 100 * off(limit.footprint, footprint) + off(limit.depth, depth);
    if (away < distance) {
      best = limit;
      distance = away;
    }
  }
  return best;
}

const writing = /write|fill/;
const reading = /read/;

function usesNetwork(result) {
  return /^(benchfs|chfs|finchfs)\b/.test(result.target) || /^(rpc|rma)$/.test(result.benchmark);
}

/* The engine that holds the data of a benchfs: target, as far as the files tell. */
function engineOf(result) {
  const {configuration} = runs[result.run];
  const named = /\bstore(?:\.engine)?=(\w+)/.exec(result.target);
  return result.parameters.engine ?? result.parameters.store ?? (named ? named[1] : configuration?.[result.target]?.store?.engine);
}

function usesDevice(result) {
  if (/^posix:/.test(result.target)) return !/^posix:\/dev\/shm\b/.test(result.target);
  return ['file', 'uring', 'pmem', 'rocksdb', 'tiered'].includes(engineOf(result));
}

function limitNames(result, bandwidth) {
  const names = bandwidth ? ['memcpy'] : [];
  if (bandwidth && usesNetwork(result)) names.push('network-bandwidth');
  if (usesDevice(result) && writing.test(result.phase)) names.push(bandwidth ? 'device-write' : 'device-iops-write');
  if (usesDevice(result) && reading.test(result.phase)) names.push(bandwidth ? 'device-read' : 'device-iops-read');
  return names;
}

function exceeds(result, measure, limit) {
  return result[measure] > 1.1 * limit.value;
}

/* Whether the phase of a subject passes by its device: in a cache, which shows in any result that exceeds the limit. */
const passedBy = new Map();

function passesBy(result, measure, name) {
  const key = JSON.stringify([result.subject.index, result.benchmark, result.phase, measure, name]);
  if (!passedBy.has(key))
    passedBy.set(key, results.some(each => {
      if (each.subject !== result.subject || each.benchmark !== result.benchmark || each.phase !== result.phase) return false;
      const limit = limitNamed(each, name);
      return limit !== undefined && limit.value > 0 && exceeds(each, measure, limit);
    }));
  return passedBy.get(key);
}

/* The limits that may bound a rate of this result. One that it exceeds does not: it was measured with fewer clients,
   or is passed by; and a device that some of these results pass by bounds none of them. */
function applicableLimits(result, measure) {
  if (data.limits.length === 0 || measures[measure].own) return [];
  return limitNames(result, measure === 'bytes_per_s').map(name => limitNamed(result, name))
    .filter(limit => limit && limit.value > 0 && !exceeds(result, measure, limit) && !(limit.name.startsWith('device-') && passesBy(result, measure, limit.name)));
}

/* Numbers of a benchmark's own are measures like the rates, without intervals. */
function registerMeasures() {
  for (const result of results)
    for (const [name, value] of Object.entries(result.measures || {})) {
      const key = 'measure ' + name;
      const words = name.replace(/^(max|min)_mean$/, '$1/mean').replace(/_/g, ' ');
      if (!measures[key]) measures[key] = {name: words, title: words, text: /(^|_)ns(_|$)/.test(name) ? format.time : /bytes/.test(name) ? format.size : format.plain, unit: name, own: true};
      result[key] = value;
    }
}

registerMeasures();
const resultsOf = new Map();
for (const result of results) {
  if (!resultsOf.has(result.benchmark)) resultsOf.set(result.benchmark, []);
  resultsOf.get(result.benchmark).push(result);
}
makeSubjects(resultsOf);
const benchmarks = [...resultsOf].map(([name, own]) => new Benchmark(name, own));
