/** Numbers and tables for people. */

/** Columns as wide as their widest cell, two spaces apart; `right` lists the columns of numbers. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => width(row[column]))));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => pad(cell, widths[i], right.includes(i)))
      .join('  ')
      .trimEnd();
  return all.map(line).join('\n');
}

/** `name  value` lines, values aligned. */
export function fields(rows: readonly (readonly [string, string])[]): string {
  const widest = Math.max(...rows.map(([name]) => width(name)));
  return rows.map(([name, value]) => `${pad(name, widest)}  ${value}`.trimEnd()).join('\n');
}

const width = (text: string): number => [...text].length;

function pad(text: string, to: number, right = false): string {
  const space = ' '.repeat(Math.max(0, to - width(text)));
  return right ? space + text : text + space;
}

const UNITS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's'],
] as const;

/** The two largest units: `3 h 12 min`, `45 s`. */
export function duration(seconds: number): string {
  let rest = Math.max(0, Math.floor(seconds));
  const parts: string[] = [];
  for (const [size, unit] of UNITS) {
    const count = Math.floor(rest / size);
    if (count > 0 || parts.length > 0) parts.push(`${count} ${unit}`);
    rest -= count * size;
    if (parts.length === 2) break;
  }
  return parts.filter((part) => !part.startsWith('0 ')).join(' ') || '0 s';
}

/** Milliseconds with three significant digits: `0.18 ms`, `20.4 ms`. */
export function millis(micros: number | null): string {
  if (micros === null) return '–';
  const value = micros / 1000;
  return `${value < 1 ? value.toFixed(3) : value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`;
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(count: number): string {
  const power = count < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(count) / 10));
  const value = count / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${BYTE_UNITS[power]}`;
}

const RATE_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];

/** Bytes a second as bits a second, decimal units: `1.2 Mbit/s`. */
export function rate(bytesPerSecond: number): string {
  const bits = 8 * bytesPerSecond;
  const power = bits < 1 ? 0 : Math.min(RATE_UNITS.length - 1, Math.floor(Math.log10(bits) / 3));
  return `${(bits / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${RATE_UNITS[power]}`;
}

/** `0 %`, `0.012 %`, `1.23 %`; what is less than a thousandth of a percent, but not nothing, as such. */
export function percent(share: number): string {
  if (share === 0) return '0 %';
  const value = 100 * share;
  if (value < 0.001) return '<0.001 %';
  return `${value < 0.1 ? value.toFixed(3) : value < 10 ? value.toFixed(2) : value.toFixed(1)} %`;
}

export function nodeIdText(id: number | null): string {
  return id === null ? '–' : id.toString(16).padStart(8, '0');
}

/** Middle of the values; of an even number, the mean of the two. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
