/* The page: head, warnings, summary, a section for each benchmark, limits, scores, where the results come from. */

/* The command that made a run, from its record. */
function commandOf(run) {
  if (typeof run.command === 'string') return run.command;
  if (Array.isArray(run.command)) return run.command.map(word => shellWord(String(word))).join(' ');
  const words = ['benchfs', 'bench', String(run.benchmark)];
  for (const [name, value] of Object.entries(run.options || {})) {
    if (name === 'json' || value === false || value === null) continue;
    if (value === true) words.push(`--${name}`);
    else if (Array.isArray(value)) {
      if (value.every(each => typeof each === 'number')) words.push(`--${name}`, value.join(','));
      else for (const each of value) words.push(`--${name}`, String(each));
    } else if (typeof value !== 'object') words.push(`--${name}`, String(value));
  }
  return words.map(shellWord).join(' ');
}

function whereText(run) {
  const parts = [machineText(run)];
  if (run.time) parts.push(String(run.time).replace('T', ' ').replace('Z', ' UTC'));
  return parts.join(' · ');
}

function machineText(run) {
  const parts = [];
  const processors = known(run.processors) ? `${run.processors} × ` : '';
  if (run.host) parts.push(`on ${run.host}`);
  if (run.processor) parts.push(`${processors}${String(run.processor).replace(/\s+/g, ' ')}`);
  if (known(run.memory) && run.memory > 0) parts.push(`${format.size(run.memory)} of memory`);
  if (run.kernel) parts.push(`Linux ${run.kernel}`);
  if (run.version) parts.push(`BenchFS ${run.version}${run.commit && run.commit !== 'unknown' ? ` (${String(run.commit).slice(0, 12)})` : ''}`);
  return parts.join(' · ');
}

function headSection(parent) {
  const shownNames = benchmarks.map(benchmark => benchmark.name);
  const names = shownNames.length > 0 ? shownNames : [...new Set(runs.map(run => String(run.benchmark)))];
  const title = data.title || `BenchFS report: ${listing(names) || 'no runs'}`;
  document.title = title;
  const header = element('header', {}, element('h1', {}, title));
  const shown = runs.length <= 6 ? runs : runs.slice(0, 4);
  // One machine is named once.
  const alike = runs.length > 1 && new Set(runs.map(machineText)).size === 1;
  for (const run of shown) {
    header.append(element('p', {class: 'command'}, commandOf(run)));
    if (!alike) header.append(element('p', {class: 'where'}, whereText(run)));
  }
  if (alike) {
    const moments = runs.map(run => run.time).filter(time => typeof time === 'string' && time !== '').sort().map(time => time.replace('T', ' ').replace('Z', ' UTC'));
    header.append(element('p', {class: 'where'}, [machineText(runs[0]), moments.length > 1 ? `${moments[0]} to ${moments[moments.length - 1]}` : moments[0]].filter(Boolean).join(' · ')));
  }
  if (runs.length > shown.length) header.append(element('p', {class: 'where'}, `and ${runs.length - shown.length} more runs, see the end of the page`));
  const tools = element('div', {class: 'tools'},
    element('button', {type: 'button', id: 'theme', 'aria-label': 'Light or dark', onclick: event => {
      const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
      document.documentElement.dataset.theme = dark ? 'light' : 'dark';
      event.target.textContent = dark ? 'Dark' : 'Light';
    }}, matchMedia('(prefers-color-scheme: dark)').matches ? 'Light' : 'Dark'),
    element('button', {type: 'button', onclick: () => window.print()}, 'Print'));
  header.append(tools);
  parent.append(header);
}

function navigation(parent, entries) {
  parent.append(element('nav', {'aria-label': 'Sections'}, ...entries.map(([id, text]) => element('a', {href: `#${id}`}, shorten(text, 40)))));
}

function legend(benchmark) {
  const node = element('div', {class: 'legend'});
  for (const subject of benchmark.subjects) {
    const button = element('button', {type: 'button', 'aria-pressed': String(!subject.hidden), title: subject.label});
    const sample = d3.select(button).append('svg').attr('width', 26).attr('height', 11).attr('aria-hidden', 'true');
    sample.append('line').attr('x2', 26).attr('y1', 5.5).attr('y2', 5.5).attr('stroke-width', 2.4).attr('stroke-dasharray', subject.dash || null).style('stroke', subject.color);
    sample.append('path').attr('d', symbolPath(subject, 44)).attr('transform', 'translate(13,5.5)').style('fill', subject.color);
    button.append(element('span', {}, subject.label));
    button.addEventListener('click', () => {
      subject.hidden = !subject.hidden;
      for (const each of benchmarks) if (each.subjects.includes(subject)) each.update();
    });
    node.append(button);
    benchmark.legendButtons.push([button, subject]);
  }
  return node;
}

/* What all figures of a benchmark show: which measure, phase and point. */
function lens(benchmark) {
  const node = element('div', {class: 'lens', role: 'group', 'aria-label': `What the figures of ${benchmark.name} show`});
  const changed = set => value => {
    set(value);
    benchmark.update();
  };
  const kinds = new Set(benchmark.results.flatMap(result => [result.bytes_per_s > 0 && 'bytes_per_s', result.ops_per_s > 0 && 'ops_per_s']).filter(Boolean));
  const choices = [...kinds, ...benchmark.ownMeasures()];
  if (choices.length > 1)
    node.append(select('measure', ['auto', ...choices], benchmark.measure, [kinds.size > 1 ? 'bandwidth where bytes move' : 'rate', ...choices.map(key => measures[key].name)], changed(value => {
      benchmark.measure = value;
    })));
  if (benchmark.phases.length > 1)
    node.append(select('phases', [null, ...benchmark.phases], benchmark.phaseChosen, ['all', ...benchmark.phases], changed(value => {
      benchmark.phaseChosen = value;
    })));
  if (benchmark.varying.length > 1)
    node.append(select('bars by', benchmark.varying, benchmark.axis, benchmark.varying, changed(value => {
      benchmark.axis = value;
    })));
  for (const name of benchmark.varying)
    node.append(select(shorten(name, 24), benchmark.values.get(name), benchmark.point[name], benchmark.values.get(name).map(value => parameterText(name, value)), changed(value => {
      benchmark.point[name] = value;
    })));
  if (benchmark.subjects.length > 1) node.append(legend(benchmark));
  return node;
}

function benchmarkSection(parent, benchmark, number) {
  const id = `benchmark-${number}`;
  parent.append(element('h2', {id}, benchmark.name));
  const constant = benchmark.fixed.filter(name => benchmark.values.get(name).length === 1).map(name => `${name} ${parameterText(name, benchmark.values.get(name)[0])}`);
  const parts = [`${format.count(benchmark.results.length)} ${benchmark.results.length === 1 ? 'result' : 'results'}`];
  if (benchmark.subjects.length > 1) parts.push(benchmark.comparedParameter === undefined ? `${benchmark.subjects.length} targets` : `compared: ${shorten(benchmark.comparedParameter, 40)} (${benchmark.subjects.length})`);
  else parts.push(shorten(benchmark.subjects[0].label, 80));
  if (benchmark.varying.length > 0) parts.push(`varied: ${benchmark.varying.map(name => `${name} (${benchmark.values.get(name).length})`).join(', ')}`);
  if (benchmark.bySubject.length > 0) parts.push(`by target: ${benchmark.bySubject.map(name => `${name} ${benchmark.values.get(name).map(value => parameterText(name, value)).join(', ')}`).join(', ')}`);
  if (constant.length > 0) parts.push(`fixed: ${constant.join(', ')}`);
  parent.append(element('p', {class: 'lead'}, parts.join(' · ')));
  benchmark.legendButtons = [];
  benchmark.figures = [];
  benchmark.update = () => {
    for (const [button, subject] of benchmark.legendButtons) button.setAttribute('aria-pressed', String(!subject.hidden));
    for (const figure of benchmark.figures) figure.update();
  };
  const bar = lens(benchmark);
  if (bar.childElementCount > 0) parent.append(bar);
  const place = element('div', {class: 'figures'});
  parent.append(place);
  const made = [
    ratesFigure(place, benchmark), measuresFigure(place, benchmark), loadFigure(place, benchmark), ratioFigure(place, benchmark), latencyFigure(place, benchmark, 'percentiles'), latencyFigure(place, benchmark, 'distribution'),
    heatFigure(place, benchmark), scalingFigure(place, benchmark), stagesFigure(place, benchmark), explainFigure(place, benchmark), serversFigure(place, benchmark), seriesFigure(place, benchmark),
    countersFigure(place, benchmark),
  ];
  benchmark.figures.push(...made.filter(figure => figure));
  allResults(parent, benchmark);
}

/* Every result, whatever the point is. */
function allResults(parent, benchmark) {
  const table = () => ({
    columns: identityColumns(benchmark).concat(rateColumns('ops_per_s'), rateColumns('bytes_per_s'), latencyColumns(), ownMeasureColumns(benchmark), [
      {name: 'repeats', value: row => row.result.repeats},
      {name: 'operations', value: row => row.result.operations, text: format.count},
      {name: 'bytes', value: row => row.result.bytes, text: format.count},
      {name: 'errors', value: row => row.result.errors},
      {name: 'warnings', value: row => (row.result.warnings || []).join('; ')},
    ]),
    rows: benchmark.results.map(result => ({result})),
  });
  const holder = element('div', {});
  const details = element('details', {ontoggle: () => {
    holder.replaceChildren();
    if (details.open) holder.append(element('div', {class: 'scroll', tabindex: 0}, tableElement(table())));
  }}, element('summary', {}, `All results of ${benchmark.name}`), holder);
  parent.append(element('div', {class: 'actions all-results'}, details,
    element('button', {type: 'button', onclick: () => download(`${fileName(benchmark.name)}-results.csv`, csvText(table()), 'text/csv')}, 'CSV')));
}

/* ---- where the results come from ---- */

function flatten(value, path, into) {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    for (const [name, inner] of Object.entries(value)) flatten(inner, path ? `${path}.${name}` : name, into);
    return;
  }
  into.set(path, Array.isArray(value) ? value.map(each => typeof each === 'object' ? JSON.stringify(each) : String(each)).join(', ') : String(value));
}

function provenanceSection(parent) {
  parent.append(element('h2', {id: 'provenance'}, 'Where the results come from'));
  parent.append(element('p', {class: 'lead'}, data.files.length === 1 ? `Read from ${data.files[0]}.` : `Read from ${listing(data.files)}.`));
  if (runs.length === 0) return;
  const shown = runs.slice(0, 12);
  const flat = shown.map(run => {
    const into = new Map([['command', commandOf(run)]]);
    for (const [name, value] of Object.entries(run)) if (name !== 'type' && name !== 'command') flatten(value, name, into);
    return into;
  });
  const keys = [...new Set(flat.flatMap(each => [...each.keys()]))];
  const head = element('tr', {}, element('th', {}, ''), ...shown.map((run, i) => element('th', {scope: 'col'}, `run ${i + 1}: ${shorten(String(run.benchmark), 24)}`)));
  const body = element('tbody');
  for (const key of keys) {
    const cells = flat.map(each => each.get(key));
    const differs = shown.length > 1 && !['id', 'time', 'command'].includes(key) && new Set(cells).size > 1;
    body.append(element('tr', {class: differs ? 'differs' : null}, element('th', {scope: 'row', class: 'key'}, key), ...cells.map(cell => element('td', {}, cell ?? missing))));
  }
  if (shown.length > 1) parent.append(element('p', {class: 'lead'}, 'Bold: what differs between the runs.'));
  parent.append(element('div', {class: 'scroll', tabindex: 0, id: 'runs'}, element('table', {}, element('thead', {}, head), body)));
  if (runs.length > shown.length) parent.append(element('p', {class: 'empty'}, `${runs.length - shown.length} more runs are not shown here.`));
}

function build() {
  const page = document.getElementById('page');
  headSection(page);
  const entries = [...(comparisonsOnly() ? [] : [['summary', 'Summary']]), ...(data.comparisons.length ? [['comparisons', 'Compared']] : []), ...(data.scores.length ? [['scores', 'IO500 score']] : []),
    ...benchmarks.map((benchmark, i) => [`benchmark-${i}`, benchmark.name]), ...(data.limits.length ? [['limits', 'Limits']] : []), ['provenance', 'Provenance']];
  navigation(page, entries);
  warningsSection(page);
  summarySection(page);
  comparisonsSection(page);
  scoresSection(page);
  benchmarks.forEach((benchmark, i) => benchmarkSection(page, benchmark, i));
  limitsSection(page);
  provenanceSection(page);
  document.getElementById('made').textContent = `Made by benchfs report ${data.version}${data.made ? ' on ' + data.made.replace('T', ' ').replace('Z', ' UTC') : ''}. Everything on this page is in this one file.`;
  for (const figure of figures) figure.update();
  let width = window.innerWidth;
  let timer;
  window.addEventListener('resize', () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => {
      for (const figure of figures) figure.update();
    }, 150);
  });
  document.documentElement.dataset.drawn = String(figures.length);
}

build();
