/* What the data say, in sentences that are computed from them. No sentence is written unless its numbers are
   there; nobody is called faster unless the rule in compare.js says so. Words in bold are {b: text}. */

function sentenceElement(parts) {
  return element('li', {}, ...parts.map(part => typeof part === 'string' ? part : element('b', {}, part.b)));
}

const strong = text => ({b: text});

function plainRatio(ratio) {
  return trimmed(digits(ratio));
}

function times(ratio) {
  return `${plainRatio(ratio)} times`;
}

function settingsWord(count) {
  return count === 1 ? 'one setting' : `${count} settings`;
}

/* One phase, two subjects. */
function pairSentence(benchmark, phase, one, other) {
  const over = compareOverSettings(benchmark, phase, one, other);
  if (over.found.length === 0) return undefined;
  const text = measures[over.measure].text;
  // The one that is faster on the whole comes first.
  if (over.mean < 1) return pairSentence(benchmark, phase, other, one);
  const name = shorten(one.label, 60);
  const against = shorten(other.label, 60);
  if (over.found.length === 1) {
    const [only] = over.found;
    const rates = `${text(only.result[over.measure])} against ${text(only.against[over.measure])}`;
    if (only.verdict === 'noise') return [strong(phase), `: ${name} and ${against} do not differ outside the noise (${rates}).`];
    if (only.verdict === 'unknown' || only.low === undefined) return [strong(phase), `: ${name} did ${times(only.ratio)} the rate of ${against} (${rates}); too few repeats to tell this from noise.`];
    return [strong(phase), ': ', strong(`${name} is ${times(only.ratio)} as fast as ${against}`), ` (${rates}; ${plainRatio(only.low)} to ${only.high === undefined ? 'any' : plainRatio(only.high)}), outside the noise.`];
  }
  const parts = [];
  const all = over.found.length;
  if (over.faster) parts.push(`faster in ${over.faster === all ? `all ${all}` : over.faster}`);
  if (over.slower) parts.push(`slower in ${over.slower}`);
  if (over.noise) parts.push(`within the noise in ${over.noise}`);
  if (over.unknown) parts.push(`too few repeats to tell in ${over.unknown}`);
  const spread = `(geometric mean over ${settingsWord(all)}; ${plainRatio(over.least)} to ${plainRatio(over.most)})`;
  if (over.unknown === all) return [strong(phase), `: ${name} did ${times(over.mean)} the rate of ${against} ${spread}; too few repeats to tell this from noise.`];
  if (over.noise === all)
    return [strong(phase), `: ${name} and ${against} do not differ outside the noise in any of ${settingsWord(all)}; on the mean ${times(over.mean)} ${spread}.`];
  // "is as fast as" needs more than half of the settings behind it.
  if (2 * over.faster <= all) return [strong(phase), `: no clear winner. ${name} did ${times(over.mean)} the rate of ${against} ${spread}, but was ${listing(parts)}.`];
  return [strong(phase), ': ', strong(`${name} is ${times(over.mean)} as fast as ${against}`), ` ${spread}: ${listing(parts)}.`];
}

/* One phase, three subjects or more: who is fastest and how the others stand to it. */
function rankSentence(benchmark, phase) {
  const present = benchmark.subjects.filter(subject => benchmark.results.some(result => result.phase === phase && result.subject === subject));
  if (present.length < 2) return undefined;
  if (present.length === 2) return pairSentence(benchmark, phase, present[0], present[1]);
  // Against the first subject, whose settings are common ground.
  const standing = present.map(subject => ({subject, over: subject === present[0] ? undefined : compareOverSettings(benchmark, phase, subject, present[0])}))
    .filter(each => each.over === undefined || each.over.mean > 0)
    .map(each => ({subject: each.subject, mean: each.over ? each.over.mean : 1})).sort((a, b) => b.mean - a.mean);
  if (standing.length < 2) return undefined;
  const best = standing[0].subject;
  const rest = standing.slice(1).map(each => ({subject: each.subject, over: compareOverSettings(benchmark, phase, best, each.subject)})).filter(each => each.over.found.length > 0);
  if (rest.length === 0) return undefined;
  const settings = Math.max(...rest.map(each => each.over.found.length));
  const clear = each => each.over.faster === each.over.found.length;
  // Leading all others in more than half of the settings, outside the noise.
  const leads = rest.every(each => 2 * each.over.faster > each.over.found.length);
  const doubt = ({over}) => over.unknown === over.found.length ? ' (too few repeats to tell)' : over.noise === over.found.length ? ' (within the noise)'
    : ` (outside the noise in ${over.faster} of ${over.found.length})`;
  const words = rest.slice(0, 6).map(each => `${shorten(each.subject.label, 48)} reaches ${format.share(1 / each.over.mean)} of its rate${clear(each) ? '' : doubt(each)}`);
  const head = leads ? [strong(`${shorten(best.label, 60)} is the fastest`)] : [`no clear winner. ${shorten(best.label, 60)} comes first`];
  return [strong(phase), ': ', ...head, ` (geometric mean over ${settingsWord(settings)}); ${listing(words)}`,
    rest.every(clear) ? ', all outside the noise.' : '.', rest.length > 6 ? ` ${rest.length - 6} more are in the figures.` : ''];
}

/* Two subjects, measured too few times for any verdict: what can be said fits into one sentence. */
function fewSentence(benchmark, phases) {
  if (benchmark.subjects.length !== 2) return undefined;
  const most = d3.max(benchmark.results, result => result.repeats);
  const overs = phases.map(phase => ({phase, over: compareOverSettings(benchmark, phase, ...benchmark.subjects)})).filter(each => each.over.found.length > 0);
  if (overs.length < 2 || !(most < repeatsNeeded)) return undefined;
  const [one, other] = benchmark.subjects;
  const words = overs.map(({phase, over}) => `${format.ratio(over.mean)} in ${phase}`);
  return [`With ${most === 1 ? 'one repeat' : `${most} repeats`} no difference can be told from noise; at least ${repeatsNeeded} are needed. `, strong(shorten(one.label, 60)),
    ` against ${shorten(other.label, 60)}${benchmark.varying.length > 0 ? ' (geometric means)' : ''}: ${listing(words)}.`];
}

/* What arrives at a given rate is served at that rate, or not: what counts is how long it takes. */
function underLoadSentence(benchmark, phase, subject, own) {
  const served = own.filter(result => result.p50_ns > 0).sort((a, b) => a.parameters.rate - b.parameters.rate);
  if (served.length === 0) return undefined;
  const ends = served.length === 1 ? served : [served[0], served[served.length - 1]];
  const words = ends.map(result => `p50 ${format.time(result.p50_ns)}, p99 ${format.time(result.p99_ns)} at ${settingText(result, ['rate', ...benchmark.varying.filter(name => name !== 'rate')])}`);
  return [strong(phase), `: on ${shorten(subject.label, 60)} ${words.join(' and ')}.`];
}

/* One subject: its best rate. */
function bestSentence(benchmark, phase, subject) {
  const measure = benchmark.naturalMeasure(phase);
  const own = benchmark.results.filter(result => result.phase === phase && result.subject === subject && result[measure] > 0);
  if (own.length === 0 || measures[measure].own) return undefined;
  const best = own.reduce((a, b) => b[measure] > a[measure] ? b : a);
  const {text} = measures[measure];
  if (isOpenLoop(benchmark)) return underLoadSentence(benchmark, phase, subject, own);
  const spread = interval(best, measure);
  const setting = settingText(best, benchmark.varying);
  const tail = known(best.p50_ns) && best.p50_ns > 0 ? `; latency p50 ${format.time(best.p50_ns)}, p99 ${format.time(best.p99_ns)}` : '';
  const most = own.length > 1 ? 'at most ' : '';
  return [strong(phase), `: ${shorten(subject.label, 60)} does ${most}`, strong(text(best[measure])), spread.known ? ` (${text(spread.low)} to ${text(spread.high)})` : ' (one repeat)',
    setting && own.length > 1 ? ` at ${setting}` : '', tail, '.'];
}

function tailSentence(benchmark) {
  let worst;
  for (const result of benchmark.results)
    if (result.p50_ns > 0 && result.p99_ns > 0 && (!worst || result.p99_ns / result.p50_ns > worst.p99_ns / worst.p50_ns)) worst = result;
  if (!worst || worst.p99_ns / worst.p50_ns < 5) return undefined;
  return [strong('Tail'), `: the longest is that of ${worst.phase} on ${shorten(worst.subject.label, 60)}${at(benchmark, worst)}: p99 is ${format.time(worst.p99_ns)}, `
    + `${digits(worst.p99_ns / worst.p50_ns)} times the median of ${format.time(worst.p50_ns)}.`];
}

function at(benchmark, result) {
  const setting = settingText(result, benchmark.varying);
  return setting ? ` at ${setting}` : '';
}

function scalingSentences(benchmark) {
  const sentences = [];
  for (const parameter of scalingParametersOf(benchmark).filter(name => name !== 'depth')) {
    const words = [];
    for (const phase of benchmark.phases)
      for (const {label, points} of scalingCurves(benchmark, phase, parameter)) {
        const [first] = points;
        const last = points[points.length - 1];
        words.push(`${phase}${benchmark.subjects.length > 1 ? ' on ' + shorten(label, 40) : ''} ${format.ratio(last.median / first.median)} `
          + `(${format.share(efficiency(first, last))} of ideal, ${parameter} ${first.x} to ${last.x})`);
      }
    const point = benchmark.pointText(parameter === 'clients' ? ['processes', 'threads'] : [parameter]);
    if (words.length > 0) sentences.push([strong(`Scaling over ${parameter}`), `${point ? ` at ${point}` : ''}: ${listing(words.slice(0, 6))}${words.length > 6 ? '; the rest is in the figure' : ''}.`]);
  }
  return sentences;
}

function stageSentences(benchmark) {
  const seen = new Map();
  for (const result of benchmark.results) {
    if (!hasStages(result)) continue;
    const {parts, total} = stageShares(result.stages, replyOf(result));
    if (!(total > 0)) continue;
    const top = parts.reduce((a, b) => b.mean > a.mean ? b : a);
    const key = JSON.stringify([result.phase, result.subject.index]);
    if (!seen.has(key) || seen.get(key).share < top.mean / total) seen.set(key, {result, name: top.name, share: top.mean / total});
  }
  const words = [...seen.values()].map(({result, name, share}) =>
    `${format.share(share)} in ${stageName(name)} for ${result.phase}${benchmark.subjects.length > 1 ? ' on ' + shorten(result.subject.label, 40) : ''}${at(benchmark, result)}`);
  return words.length > 0 ? [[strong('Time of requests'), `: the greatest part is ${listing(words.slice(0, 6))}.`]] : [];
}

function balanceSentence(benchmark) {
  let worst;
  for (const result of benchmark.results) {
    const uneven = imbalance((result.servers || []).map(server => server.requests).filter(known));
    if (uneven && (!worst || uneven.peak > worst.uneven.peak)) worst = {result, uneven};
  }
  if (!worst) return undefined;
  const {result, uneven} = worst;
  if (uneven.peak < 1.1) return [strong('Balance'), `: the busiest server never has more than ${plainRatio(uneven.peak)} times the mean of requests.`];
  return [strong('Balance'), `: in ${result.phase} on ${shorten(result.subject.label, 60)}${at(benchmark, result)} the busiest server has ${plainRatio(uneven.peak)} times the mean of requests (CV ${plainRatio(uneven.variation)}).`];
}

function limitSentence(benchmark) {
  if (data.limits.length === 0) return undefined;
  const words = [];
  for (const phase of benchmark.phases) {
    let best;
    for (const result of benchmark.results.filter(each => each.phase === phase)) {
      const measure = benchmark.naturalMeasure(phase);
      const lowest = applicableLimits(result, measure).reduce((a, b) => a === undefined || b.value < a.value ? b : a, undefined);
      if (lowest && result[measure] > 0 && (!best || result[measure] / lowest.value > best.share)) best = {result, limit: lowest, share: result[measure] / lowest.value};
    }
    if (best) words.push(`${phase} ${format.share(best.share)} of ${best.limit.name} (${shorten(best.result.subject.label, 40)}${at(benchmark, best.result)})`);
  }
  return words.length > 0 ? [strong('Nearest to a limit'), `: ${listing(words.slice(0, 6))}.`] : undefined;
}

function failedSentence(benchmark) {
  const words = benchmark.results.filter(didNothing).map(result => `${result.phase} on ${shorten(result.subject.label, 40)}${at(benchmark, result)}`);
  return words.length > 0 ? [strong('Nothing was done'), ` in ${listing(words.slice(0, 6))}${words.length > 6 ? ` and ${words.length - 6} more` : ''}.`] : undefined;
}

function noiseSentence(benchmark) {
  const widths = benchmark.results.map(result => interval(result, benchmark.naturalMeasure(result.phase)))
    .filter(each => each.known && each.median > 0).map(each => (each.high - each.low) / 2 / each.median).sort((a, b) => a - b);
  if (widths.length === 0) return [strong('Noise'), ': unknown, every setting was measured once.'];
  return [strong('Noise'), `: 95 % intervals are ± ${format.share(widths[Math.floor(widths.length / 2)])} wide in the middle, ± ${format.share(widths[widths.length - 1])} at worst.`];
}

function comparisonsOnly() {
  return results.length === 0 && data.scores.length === 0 && data.comparisons.length > 0;
}

function summarySection(parent) {
  const section = element('section', {class: 'summary', id: 'summary'}, element('h2', {}, 'Summary'));
  parent.append(section);
  if (comparisonsOnly()) {
    section.remove();
    return;
  }
  if (results.length === 0 && data.scores.length === 0) {
    section.append(element('p', {}, 'There are no results in these files.'));
    return;
  }
  const add = (title, sentences) => {
    const present = sentences.filter(each => each !== undefined);
    if (present.length === 0) return;
    if (title) section.append(element('h3', {}, title));
    section.append(element('ul', {}, ...present.map(sentenceElement)));
  };
  if (data.scores.length > 0)
    add('IO500', data.scores.map(score => [strong(shorten(score.target.replace(/:$/, ''), 60)), `: score ${digits(score.score)} (bandwidth ${digits(score.bandwidth_gib_s)} GiB/s, metadata ${digits(score.metadata_kiops)} kIOPS), not a submission.`]));
  for (const benchmark of benchmarks) {
    const phases = benchmark.phases.slice(0, 16);
    const few = fewSentence(benchmark, phases);
    const sentences = few ? [few] : phases.map(phase => benchmark.subjects.length > 1 ? rankSentence(benchmark, phase) || bestSentence(benchmark, phase, benchmark.results.find(result => result.phase === phase).subject)
      : bestSentence(benchmark, phase, benchmark.subjects[0]));
    add(benchmarks.length > 1 ? benchmark.name : '', [failedSentence(benchmark)].concat(sentences, [limitSentence(benchmark), explainSentence(benchmark)], stageSentences(benchmark), scalingSentences(benchmark),
      [balanceSentence(benchmark), tailSentence(benchmark), noiseSentence(benchmark)]));
  }
  if (subjects.length > 1) section.append(element('p', {class: 'rule'}, RATIO_RULE));
}

/* ---- warnings ---- */

function warningsSection(parent) {
  const seen = new Map();
  const note = (text, result) => {
    if (!seen.has(text)) seen.set(text, []);
    seen.get(text).push(result);
  };
  for (const result of results) {
    for (const warning of result.warnings || []) note(String(warning), result);
    if (result.errors > 0) note(`${format.count(result.errors)} operations failed`, result);
  }
  for (const run of runs) for (const warning of Array.isArray(run.warnings) ? run.warnings : []) if (typeof warning === 'string') note(warning, undefined);
  for (const run of runs)
    if (run.governor && !['performance', 'unknown'].includes(run.governor)) note(`The processor's governor is “${run.governor}”: its clock changes with the load, and rates with it.`, undefined);
  if (seen.size === 0) return;
  const items = [...seen].slice(0, 40).map(([text, list]) => {
    const of = list.filter(result => result);
    const places = [...new Set(of.map(result => `${result.phase} on ${shorten(result.subject.label, 40)}`))];
    const where = of.length === 0 ? '' : ` ${of.length} of ${results.length} results: ${listing(places.slice(0, 4))}${places.length > 4 ? ` and ${places.length - 4} more` : ''}.`;
    return element('li', {}, text.replace(/([^.!?:”])$/, '$1.'), element('span', {class: 'where'}, where));
  });
  if (seen.size > 40) items.push(element('li', {}, `${seen.size - 40} more are in the tables.`));
  parent.append(element('section', {class: 'warnings', id: 'warnings', role: 'note'},
    element('h2', {}, seen.size === 1 ? 'One warning: read the figures with it' : `${seen.size} warnings: read the figures with them`), element('ul', {}, ...items)));
}
