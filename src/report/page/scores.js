/* Scores of IO500: never without the word that they are no submission. */

function scoresSection(parent) {
  if (data.scores.length === 0) return;
  parent.append(element('h2', {id: 'scores'}, 'IO500 score, not a submission'));
  parent.append(element('p', {class: 'lead'}, 'The score is the geometric mean of bandwidth (GiB/s) and metadata rate (kIOPS), each the geometric mean of its phases. '
    + 'These runs keep to the order of the phases and to the formula, not to all rules of the list: they can be compared with each other only.'));
  const place = element('div', {class: 'figures'});
  parent.append(place);
  const rows = data.scores.map(score => {
    const of = results.find(result => runs[result.run].id === score.run && result.target === score.target);
    return {...score, subject: of ? of.subject : undefined, label: of ? of.subject.label : score.target};
  });
  const kinds = [
    {key: 'score', title: 'score', text: value => digits(value)},
    {key: 'bandwidth_gib_s', title: 'bandwidth, GiB/s', text: value => digits(value)},
    {key: 'metadata_kiops', title: 'metadata, kIOPS', text: value => digits(value)},
  ];
  addFigure(place, {
    file: 'io500-scores',
    title: () => 'IO500 score, not a submission',
    note: () => 'With the two values that it is made of.',
    draw: (body, width) => {
      panels(body, width, kinds, 300, kind => kind.title, (node, own, kind) => {
        const left = labelRoom(rows.map(row => row.label), own, 0.45);
        const frame = picture(node, own, rows.length * 18 + 26, {left, right: 60, top: 2, bottom: 24}, kind.title);
        const x = d3.scaleLinear().domain([0, d3.max(rows, row => row[kind.key]) || 1]).range([0, frame.width]);
        axis(frame, 'bottom', x, x.ticks(3), format.plain);
        const bars = frame.inner.selectAll('g.row').data(rows).enter().append('g').attr('transform', (row, i) => `translate(0,${i * 18 + 2})`);
        bars.append('rect').attr('class', 'bar').attr('height', 12).attr('width', row => Math.max(0.5, x(row[kind.key] || 0)))
          .style('fill', row => row.subject ? row.subject.color : 'var(--c6)');
        bars.append('text').attr('class', 'label').attr('x', -8).attr('y', 6).attr('dy', '0.35em').attr('text-anchor', 'end').text(row => fitted(row.label, left - 10));
        bars.append('text').attr('class', 'value').attr('x', row => x(row[kind.key] || 0) + 6).attr('y', 6).attr('dy', '0.35em').text(row => kind.text(row[kind.key]));
      });
    },
    table: () => ({
      columns: [
        {name: 'target', value: row => row.target}, {name: 'run', value: row => row.run},
        ...kinds.map(kind => ({name: kind.title, value: row => row[kind.key]})),
        {name: 'note', value: () => 'not a submission'},
      ],
      rows,
    }),
  });
}
