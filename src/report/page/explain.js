/* What "benchfs explain" says of results: at the point in words, over all settings as a count of what limits. An
   explanation belongs to the result of the same run, target, phase and parameters. */

function explanationKey(run, target, phase, parameters) {
  return JSON.stringify([run, target, phase, Object.entries(parameters || {}).sort((a, b) => compareValues(a[0], b[0]))]);
}

function joinExplanations() {
  const found = new Map(data.explanations.map(each => [explanationKey(each.run, each.target, each.phase, each.parameters), each]));
  if (found.size === 0) return;
  for (const result of results) {
    const explanation = found.get(explanationKey(runs[result.run].id, result.target, result.phase, result.parameters));
    if (explanation && typeof explanation.text === 'string') result.explanation = explanation;
  }
}

joinExplanations();

const isExplained = result => result.explanation !== undefined && typeof result.explanation.resource === 'string';

function resourceName(name) {
  return name === 'unknown' ? 'nothing that was measured' : name.replace(/-/g, ' ');
}

function explainFigure(parent, benchmark) {
  if (!benchmark.results.some(isExplained)) return undefined;
  const list = () => benchmark.visiblePhases().flatMap(phase => benchmark.at(phase).filter(isExplained));
  const limitOf = result => result.explanation.limit || {};
  return addFigure(parent, {
    file: `${fileName(benchmark.name)}-explained`,
    title: () => 'What limits it',
    note: () => {
      const point = benchmark.pointText();
      return (point ? `At ${point}. ` : '') + 'What benchfs explain concludes from stages, counters and limits.'
        + (data.limits.length === 0 ? ' How far something is from its limit is known with limits of this machine: measure them by "benchfs bench calibrate --output FILE" and give FILE to "benchfs report", too.' : '');
    },
    draw: body => {
      const found = list();
      if (found.length === 0) return nothingHere(benchmark, isExplained);
      const node = element('ul', {class: 'explained'});
      for (const result of found.slice(0, 24)) {
        const {text, notes} = result.explanation;
        node.append(element('li', {}, shorten(text.replace(/^./, letter => letter.toUpperCase()), 700) + '.',
          ...(Array.isArray(notes) ? notes : []).filter(note => typeof note === 'string').slice(0, 8).map(note => element('span', {}, ` ${shorten(note.replace(/^./, letter => letter.toUpperCase()), 400)}.`))));
      }
      body.append(node);
    },
    table: () => ({
      columns: identityColumns(benchmark).concat([
        {name: 'most time in (p50)', value: row => row.result.explanation.stage},
        {name: 'most time in (p99)', value: row => row.result.explanation.stage_p99},
        {name: 'limited by', value: row => row.result.explanation.resource},
        {name: 'share of limit', value: row => limitOf(row.result).ratio, text: format.share},
        {name: 'next limit', value: row => (row.result.explanation.next || {}).resource},
        {name: 'gain until then', value: row => (row.result.explanation.next || {}).gain, text: format.ratio},
        {name: 'in words', value: row => row.result.explanation.text},
      ]),
      rows: benchmark.results.filter(isExplained).map(result => ({result})),
    }),
  });
}

function explainSentence(benchmark) {
  const counts = new Map();
  const explained = benchmark.results.filter(isExplained);
  if (explained.length === 0) return undefined;
  for (const {explanation} of explained) counts.set(explanation.resource, (counts.get(explanation.resource) || 0) + 1);
  const words = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5).map(([resource, count]) => `${resourceName(resource)} in ${count}`);
  return [strong('What limits'), `, of ${explained.length} explained ${explained.length === 1 ? 'result' : 'results'}: ${listing(words)}.`];
}
