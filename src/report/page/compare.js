/* Who is faster, by how much, and whether that is more than noise.

   The rule is that of "benchfs bench compare", in its strict form: there are at least four repeats on both sides (two
   equal sides of three lie apart in one of ten comparisons); the 95 % intervals of the two medians do not overlap; and
   the ratio is farther from 1 than the first half of a side's repeats is from its second (what a machine differs from
   itself: `noise_floor` of a result, a factor). The interval of a ratio is the widest that the two intervals allow. */

const repeatsNeeded = 4;
const RATIO_RULE = 'A difference counts as outside the noise only if both sides have at least four repeats, the 95 % intervals of their medians do not '
  + 'overlap, and the ratio is farther from 1 than the halves of a side’s own repeats are from each other. The interval of a ratio is the widest that both '
  + 'intervals allow.';

function interval(result, measure) {
  const median = result[measure];
  let low = result[measure + '_low'];
  let high = result[measure + '_high'];
  if (!known(low) || !known(high) || low > median || high < median || result.repeats < 2) low = high = undefined;
  return {median, low, high, known: low !== undefined};
}

/* one / other. verdict: 'faster', 'slower', 'noise', or 'unknown' when there are too few repeats. */
function compare(one, other, measure) {
  const a = interval(one, measure);
  const b = interval(other, measure);
  if (!(a.median > 0) || !(b.median > 0)) return undefined;
  const ratio = a.median / b.median;
  if (!a.known || !b.known) return {ratio, verdict: 'unknown'};
  const compared = {ratio, low: b.high > 0 ? a.low / b.high : 0, high: b.low > 0 ? a.high / b.low : undefined};
  const floor = Math.max(one.noise_floor || 1, other.noise_floor || 1);
  if (Math.min(one.repeats, other.repeats) < repeatsNeeded) compared.verdict = 'unknown';
  else if (Math.max(ratio, 1 / ratio) <= floor) compared.verdict = 'noise';
  else compared.verdict = a.low > b.high ? 'faster' : a.high < b.low ? 'slower' : 'noise';
  return compared;
}

function geometricMean(values) {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/* Results of one phase by setting, then by subject. */
function bySetting(benchmark, phase) {
  const settings = new Map();
  for (const result of benchmark.results) {
    if (result.phase !== phase || result.subject.hidden) continue;
    const key = benchmark.settingKey(result);
    if (!settings.has(key)) settings.set(key, new Map());
    settings.get(key).set(result.subject, result);
  }
  return settings;
}

/* Ratios one / other over all settings of a phase that both have. */
function compareOverSettings(benchmark, phase, one, other) {
  const measure = benchmark.naturalMeasure(phase);
  const found = [];
  if (!measures[measure].own) for (const own of bySetting(benchmark, phase).values()) {
    if (!own.has(one) || !own.has(other)) continue;
    const compared = compare(own.get(one), own.get(other), measure);
    if (compared) found.push({...compared, result: own.get(one), against: own.get(other)});
  }
  const count = verdict => found.filter(each => each.verdict === verdict).length;
  return {
    measure, found, faster: count('faster'), slower: count('slower'), noise: count('noise'), unknown: count('unknown'),
    mean: found.length > 0 ? geometricMean(found.map(each => each.ratio)) : undefined,
    least: Math.min(...found.map(each => each.ratio)), most: Math.max(...found.map(each => each.ratio)),
  };
}
