import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig, ruleProblems } from '../../../src/agent/config/index.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cw-rules-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const problemsOf = (mode: string, ...rules: string[]): string[] => {
  const file = join(directory, 'a.yaml');
  const lines = rules.map((rule) => `    - ${rule}\n`).join('');
  const head = 'node: a\npki: {ca: ca.crt, cert: a.crt, key: a.key}\n';
  writeFileSync(file, `${head}intercept:\n  mode: ${mode}\n  rules:\n${lines}`);
  return ruleProblems(loadConfig(file)).map(({ line, key, message }) => `${line} ${key}: ${message}`);
};

test('a rule about multicast that an earlier one takes all of is named, with that one', () => {
  for (const mode of ['split', 'full'])
    expect(
      problemsOf(
        mode,
        '{match: {to: 239.0.0.0/8}, do: direct}',
        '{match: {to: 239.1.2.3, proto: udp}, do: drop}',
      ),
    ).toEqual([
      '7 intercept.rules[1]: can never match: intercept.rules[0] in line 6, before it, takes everything that it matches',
    ]);
});

test('in mode full, a rule that wants nothing but multicast or broadcast carried earns a warning', () => {
  const rules = [
    '{match: {to: [239.0.0.0/8, "ff0e::/16"]}, do: overlay}',
    '{match: {to: 255.255.255.255, proto: udp}, do: overlay}',
    '{match: {to: [224.0.0.0/3]}, do: overlay}',
    '{match: {to: 10.0.0.0/8}, do: overlay}',
    '{match: {}, do: overlay}',
  ];
  expect(problemsOf('full', ...rules)).toEqual([
    expect.stringMatching(/^6 intercept\.rules\[0\]: the overlay doesn't carry multicast and broadcast yet/),
    expect.stringMatching(/^7 intercept\.rules\[1\]: the overlay doesn't carry/),
  ]);
  expect(problemsOf('split', ...rules)).toEqual([]);
});
