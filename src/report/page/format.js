/* Numbers as people read them. Decimal prefixes for rates, binary ones for sizes, as in the tables that
   "benchfs bench" prints. */

const missing = '–';

function digits(value) {
  const size = Math.abs(value);
  if (value === 0) return '0';
  if (size >= 1e15 || size < 1e-4) return value.toExponential(2);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toPrecision(3);
}

function scaled(value, steps, base, units) {
  let step = 0;
  let rest = Math.abs(value);
  while (step < steps && rest >= base * 0.9995) {
    rest /= base;
    step++;
  }
  return digits(value / base ** step) + units[step];
}

function known(value) {
  return typeof value === 'number' && Number.isFinite(value);
}

const format = {
  ops: value => known(value) ? scaled(value, 4, 1000, [' op/s', ' kop/s', ' Mop/s', ' Gop/s', ' Top/s']) : missing,
  bandwidth: value => known(value) ? scaled(value, 5, 1000, [' B/s', ' kB/s', ' MB/s', ' GB/s', ' TB/s', ' PB/s']) : missing,
  time: value => known(value) ? scaled(value, 3, 1000, [' ns', ' µs', ' ms', ' s']) : missing,
  seconds: value => known(value) ? digits(value) + ' s' : missing,
  count: value => known(value) ? (Number.isInteger(value) ? value.toLocaleString('en-US') : digits(value)) : missing,
  share: value => known(value) ? (value !== 0 && Math.abs(value) < 0.0005 ? (100 * value).toPrecision(1) : (100 * value).toFixed(Math.abs(value) < 0.1 ? 1 : 0)) + ' %' : missing,
  ratio: value => known(value) ? trimmed(digits(value)) + ' ×' : missing,
  plain: value => known(value) ? (Number.isInteger(value) && Math.abs(value) < 1e15 ? String(value) : digits(value)) : value === undefined || value === null ? missing : String(value),
  size: value => {
    if (!known(value)) return missing;
    // 47,008 bytes have a name of their own, 45.9 KiB is nobody's transfer.
    if (value < 1e6 && value % 1024 !== 0 && Number.isInteger(value)) return value.toLocaleString('en-US') + ' B';
    for (const [power, unit] of [[50, 'PiB'], [40, 'TiB'], [30, 'GiB'], [20, 'MiB'], [10, 'KiB']])
      if (Math.abs(value) >= 2 ** power) {
        const number = value / 2 ** power;
        return (Number.isInteger(number) ? String(number) : digits(number)) + ' ' + unit;
      }
    return format.plain(value) + ' B';
  },
};

/* Parameters that count bytes, by name: only then 4096 reads as 4 KiB. */
const byteParameters = /(^|_|-)(size|block|transfer|total|record|chunk|stripe|bytes|segment|file|capacity|memory)(_size|-size)?$/;

function parameterText(name, value) {
  if (value === undefined || value === null) return missing;
  if (typeof value === 'number') {
    if (/^(time|seconds|duration|interval)$/.test(name) && value >= 1000) return trimmed(format.time(value)); // ns, as all durations
    if (byteParameters.test(name) && (value >= 1024 || /size|block|transfer/.test(name))) return format.size(value);
    return Number.isInteger(value) ? String(value) : digits(value);
  }
  return String(value);
}

/* At an axis "10.0 GB/s" is "10 GB/s". */
function trimmed(text) {
  return String(text).replace(/(\.\d*?)0+(?=\D|$)/, '$1').replace(/\.(?=\D|$)/, '');
}

/* Of a rate: how it is called, written, and where it is in a result. */
const measures = {
  bytes_per_s: {name: 'bandwidth', title: 'Bandwidth', text: format.bandwidth, unit: 'B/s'},
  ops_per_s: {name: 'operations per second', title: 'Operations per second', text: format.ops, unit: 'op/s'},
};

/* The ends of a text that is too long to be shown whole. */
function shorten(text, length) {
  text = String(text);
  return text.length <= length ? text : text.slice(0, Math.ceil(length * 0.6)) + '…' + text.slice(-Math.floor(length * 0.4) + 1);
}

function listing(words) {
  if (words.length < 2) return words.join('');
  return words.slice(0, -1).join(', ') + ' and ' + words[words.length - 1];
}

/* A word in a command line, quoted as a shell needs it. */
function shellWord(word) {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : "'" + word.replace(/'/g, "'\\''") + "'";
}
