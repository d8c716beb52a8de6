/* What all figures are made of: numbered frames with caption, controls, plot, table and CSV; panels (small
   multiples); axes; the tooltip.

   A figure is drawn from its state only, so a change of the state redraws it whole. Plots are SVG: crisp in
   print, coloured by the variables of the style sheet, so that a change of theme needs no drawing. */

let figureCount = 0;
const figures = [];

/* options: title(): caption in bold; note(): the rest of the caption; half: takes half the width; controls: nodes;
   draw(body, width); table(): {columns, rows}; file: name of the CSV file. draw may return a text in place of a
   plot. */
function addFigure(parent, options) {
  const number = ++figureCount;
  const caption = element('figcaption');
  const body = element('div', {class: 'plot'});
  const holder = element('div', {});
  const details = element('details', {ontoggle: fillTable}, element('summary', {}, 'Table'), holder);
  if (options.tableShown) details.hidden = true;
  const save = element('button', {type: 'button', onclick: () => download(`${options.file}.csv`, csvText(options.table()), 'text/csv')}, 'CSV');
  const node = element('figure', {class: options.half ? 'half' : null, id: `figure-${number}`}, caption,
    options.controls ? element('div', {class: 'controls'}, ...options.controls) : null, body,
    options.table ? element('div', {class: 'actions'}, details, save) : null);
  parent.append(node);

  function fillTable() {
    holder.replaceChildren();
    if (details.open) holder.append(element('div', {class: 'scroll', tabindex: 0}, tableElement(options.table())));
  }

  const figure = {
    number, node, options,
    update() {
      caption.replaceChildren(element('b', {}, `Figure ${number}. ${options.title()}`), ' ', element('span', {}, options.note ? options.note() : ''));
      body.replaceChildren();
      hideTip();
      let reason;
      try {
        if (options.subjects) body.append(subjectKey(options.subjects()));
        reason = options.draw(body, Math.max(280, node.clientWidth || 1100));
      } catch (error) {
        console.error(`figure ${number}:`, error);
        reason = `This figure could not be drawn: ${error.message}`;
      }
      if (reason) body.replaceChildren(element('p', {class: 'empty'}, reason));
      if (details.open) fillTable();
    },
  };
  figures.push(figure);
  return figure;
}

function select(label, values, current, texts, changed) {
  const node = element('select', {}, ...values.map((value, i) => element('option', {value: String(i), selected: value === current}, shorten(texts[i], 60))));
  node.addEventListener('change', () => changed(values[Number(node.value)]));
  return element('label', {}, label, node);
}

/* A grid of panels, as many columns as fit at `least` pixels each. draw(panel node, width, item). */
function panels(body, width, items, least, title, draw) {
  const columns = Math.max(1, Math.min(items.length, Math.floor((width + 24) / (least + 24))));
  const own = Math.floor((width - 24 * (columns - 1)) / columns);
  const grid = element('div', {class: 'panels', style: `grid-template-columns: repeat(${columns}, minmax(0, 1fr))`});
  body.append(grid);
  for (const item of items) {
    const name = title(item);
    const node = element('div', {class: 'panel'}, name ? element('h4', {title: name}, name) : null);
    grid.append(node);
    draw(node, own, item);
  }
}

/* An SVG picture of this size with a group inside its margins; `label` is for those who do not see it. */
function picture(node, width, height, margin, label) {
  const svg = d3.select(node).append('svg').attr('width', width).attr('height', height)
    .attr('viewBox', `0 0 ${width} ${height}`).attr('role', 'img').attr('aria-label', label);
  const inner = svg.append('g').attr('transform', `translate(${margin.left},${margin.top})`);
  return {svg, inner, width: width - margin.left - margin.right, height: height - margin.top - margin.bottom};
}

/* Powers of ten, and as many digits between them as have room: `most` labels fit side by side. */
function logTicks([low, high], most) {
  const decades = Math.log10(high / low);
  const steps = decades > most ? Math.ceil(decades / most) : 1;
  const choices = steps > 1 ? [[[1], 10 ** steps]] : [[[1, 2, 3, 5, 7], 1.4], [[1, 2, 5], 2], [[1, 3], 3], [[1], 10]];
  for (const [digits, nearest] of choices) {
    const ticks = [];
    // Multiples of the step: 1 is always among them.
    for (let power = Math.floor(Math.floor(Math.log10(low)) / steps) * steps; power <= Math.ceil(Math.log10(high)); power += steps)
      for (const digit of digits) {
        const tick = digit * 10 ** power;
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
      }
    const room = Math.log10(nearest) / decades * most; // of the narrowest gap, in labels
    if (ticks.length >= 2 && (room >= 0.8 || ticks.length === 2)) return ticks;
    if (decades >= 1.5 && digits.length === 1 && ticks.length > 0) return ticks;
  }
  // Less than a digit: as good as linear.
  return d3.ticks(low, high, Math.min(4, most)).filter(tick => tick > 0);
}

/* About one tick for each `room` pixels of a linear scale, and never more. */
function linearTicks(scale, room) {
  const [low, high] = scale.range();
  const most = Math.max(2, Math.floor(Math.abs(high - low) / room));
  let ticks = scale.ticks(most);
  for (let count = most - 1; ticks.length > most + 1 && count > 0; count--) ticks = scale.ticks(count);
  return ticks;
}

/* Names for lines, each moved up until it does not lie on another. labels: [{x, y, width, ...}]. */
function spread(labels, height, anchorMiddle) {
  const placed = [];
  for (const label of labels.slice().sort((a, b) => a.x - b.x)) {
    const left = anchorMiddle ? label.x - label.width / 2 : label.x;
    while (placed.some(other => Math.abs(other.y - label.y) < height && left < other.right + 4 && left + label.width > other.left - 4)) label.y -= height;
    placed.push({...label, left, right: left + label.width});
  }
  return placed;
}

/* A logarithmic domain around values, with a little air. */
function logDomain(values) {
  let low = Infinity;
  let high = 0;
  for (const value of values)
    if (known(value) && value > 0) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  if (high === 0) return [1, 10];
  const air = Math.max(1.08, (high / low) ** 0.04);
  return [low / air, high * air];
}

/* Draws an axis with grid lines. side: 'bottom' or 'left'. */
function axis(frame, side, scale, ticks, text, label) {
  const make = side === 'bottom' ? d3.axisBottom(scale) : d3.axisLeft(scale);
  make.tickValues(ticks).tickFormat(value => trimmed(text(value))).tickSizeOuter(0).tickSizeInner(side === 'bottom' ? 4 : 0).tickPadding(side === 'bottom' ? 4 : 6);
  const at = value => scale(value);
  const grid = frame.inner.insert('g', ':first-child').attr('class', 'grid');
  grid.selectAll('line').data(ticks).enter().append('line')
    .attr('x1', tick => side === 'bottom' ? at(tick) : 0).attr('x2', tick => side === 'bottom' ? at(tick) : frame.width)
    .attr('y1', tick => side === 'bottom' ? 0 : at(tick)).attr('y2', tick => side === 'bottom' ? frame.height : at(tick));
  const group = frame.inner.append('g').attr('class', 'axis');
  if (side === 'bottom') group.attr('transform', `translate(0,${frame.height})`);
  group.call(make);
  if (side === 'left') group.select('path.domain').remove();
  if (label && side === 'bottom')
    frame.inner.append('text').attr('x', frame.width).attr('y', frame.height + 31).attr('text-anchor', 'end').text(label);
  if (label && side === 'left') frame.inner.append('text').attr('x', 0).attr('y', -8).attr('text-anchor', 'start').text(label);
}

const ruler = document.createElement('canvas').getContext('2d');

/* Room that the widest of these texts takes as labels of a plot, but at most a share of its width. */
function labelRoom(texts, width, share = 0.42) {
  ruler.font = '11px ' + getComputedStyle(document.body).fontFamily;
  return Math.min(width * share, 12 + Math.ceil(d3.max(texts, text => ruler.measureText(text).width) || 0));
}

/* The text cut to what fits into so much room. */
function fitted(text, room) {
  let length = text.length;
  ruler.font = '11px ' + getComputedStyle(document.body).fontFamily;
  while (length > 4 && ruler.measureText(shorten(text, length)).width > room) length--;
  return shorten(text, length);
}

const symbols = [d3.symbolCircle, d3.symbolSquare, d3.symbolTriangle, d3.symbolDiamond, d3.symbolCross, d3.symbolStar, d3.symbolWye, d3.symbolCircle];

function symbolPath(subject, area) {
  return d3.symbol().type(symbols[subject.index % symbols.length]).size(area)();
}

function drawLine(frame, subject, points, x, y, curve = d3.curveLinear) {
  return frame.inner.append('path').datum(points).attr('class', 'line').style('stroke', subject.color)
    .attr('stroke-dasharray', subject.dash || null)
    .attr('d', d3.line().x(x).y(y).curve(curve)(points));
}

/* ---- the tooltip: text only, whatever it says ---- */

const tip = document.getElementById('tip');

function showTip(event, text) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = event.clientX + 14 + box.width > window.innerWidth ? event.clientX - box.width - 10 : event.clientX + 14;
  const top = Math.min(event.clientY + 14, window.innerHeight - box.height - 4);
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function hideTip() {
  tip.hidden = true;
}

function tipOn(selection, text) {
  selection.on('mousemove', datum => showTip(d3.event, text(datum))).on('mouseleave', hideTip);
}

/* Over a plot of lines: a rule at the pointer and all values there. lines: [{subject or label, at(x): text or
   undefined}]; head(x) is the first line. */
function hoverLines(frame, scale, head, lines) {
  const rule = frame.inner.append('line').attr('class', 'hover').attr('y1', 0).attr('y2', frame.height).attr('visibility', 'hidden');
  frame.inner.append('rect').attr('width', frame.width).attr('height', frame.height).attr('fill', 'none').attr('pointer-events', 'all')
    .on('mousemove', function () {
      const place = d3.mouse(this)[0];
      const x = scale.invert(place);
      const texts = [head(x)];
      for (const line of lines) {
        const text = line.at(x);
        if (text !== undefined) texts.push(`${shorten(line.label, 48)}: ${text}`);
      }
      rule.attr('x1', place).attr('x2', place).attr('visibility', 'visible');
      showTip(d3.event, texts.join('\n'));
    })
    .on('mouseleave', () => {
      rule.attr('visibility', 'hidden');
      hideTip();
    });
}

/* A key of small squares. */
function colorKey(entries) {
  return element('div', {class: 'keys'}, ...entries.map(([color, text]) => {
    const square = element('i');
    square.style.background = color;
    return element('span', {}, square, text);
  }));
}

/* Which colour is whose; on paper the legend is pages away. */
function subjectKey(list) {
  if (list.length < 2) return '';
  const key = colorKey(list.map(subject => [subject.color, shorten(subject.label, 70)]));
  key.classList.add('paper');
  return key;
}
