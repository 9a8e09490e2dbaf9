import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseConfig, RELOADABLE } from '../../../src/agent/config/index.js';
import { keyPaths } from '../../../src/agent/config/schema.js';

const text = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
const rows = [...text.matchAll(/^\| `([^`]+)` \| ([^|]*)\| (yes|no) \|/gm)].map(([, key, , reload]) => ({
  key,
  reload,
}));

test('every key is documented, and only what is a key', () => {
  expect(rows.map(({ key }) => key).sort()).toEqual(keyPaths());
});

test('what the document says of a reload is what a reload does', () => {
  const reloaded = (key: string): boolean =>
    RELOADABLE.some((path) => key === path || key.startsWith(`${path}.`) || key.startsWith(`${path}[`));
  for (const { key, reload } of rows) expect([key, reload]).toEqual([key, reloaded(key) ? 'yes' : 'no']);
});

test('the example is a configuration', () => {
  const example = /```yaml\n([\s\S]*?)```/.exec(text)![1];
  expect(parseConfig(example, '/etc/causeway/a.yaml').peers).toHaveLength(2);
});
