import { expect, test } from 'vitest';
import {
  bytes,
  duration,
  fields,
  median,
  millis,
  nodeIdText,
  percent,
  rate,
  table,
} from '../../../src/cli/format.js';

test('columns align, numbers to the right, without spaces at line ends', () => {
  expect(
    table(
      ['name', 'n'],
      [
        ['é', '1'],
        ['long name', '100'],
      ],
      [1],
    ),
  ).toBe('name         n\né            1\nlong name  100');
  expect(table(['a', 'b'], [['x', '']])).toBe('a  b\nx');
  expect(
    fields([
      ['a', '1'],
      ['long', '2'],
    ]),
  ).toBe('a     1\nlong  2');
});

test.each([
  [0, '0 s'],
  [59.9, '59 s'],
  [60, '1 min'],
  [3600, '1 h'],
  [3725, '1 h 2 min'],
  [86_400 + 30, '1 d'],
  [90_000, '1 d 1 h'],
  [-5, '0 s'],
])('%d s: %s', (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1536 * 1024, '1.5 MiB'],
  [2 ** 60, '1024.0 PiB'],
])('%d bytes: %s', (count, text) => {
  expect(bytes(count)).toBe(text);
});

test('times keep three digits, unknown ones are a dash', () => {
  expect([null, 5, 180, 1234, 20_412].map(millis)).toEqual([
    '–',
    '0.005 ms',
    '0.180 ms',
    '1.23 ms',
    '20.4 ms',
  ]);
  expect([null, 0, 0xdead_beef].map(nodeIdText)).toEqual(['–', '00000000', 'deadbeef']);
});

test('a median stands in the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test.each([
  [0, '0 bit/s'],
  [0.05, '0 bit/s'],
  [100, '800 bit/s'],
  [125, '1.0 kbit/s'],
  [1_250_000, '10.0 Mbit/s'],
  [1e15, '8000.0 Tbit/s'],
])('%d bytes a second: %s', (count, text) => {
  expect(rate(count)).toBe(text);
});

test.each([
  [0, '0 %'],
  [1e-7, '<0.001 %'],
  [0.0001, '0.010 %'],
  [0.0123, '1.23 %'],
  [1, '100.0 %'],
])('share %d: %s', (share, text) => {
  expect(percent(share)).toBe(text);
});
