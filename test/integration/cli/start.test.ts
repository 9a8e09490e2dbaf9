import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const isBuilt = existsSync(`${root}dist/bundle/cli.js`);

/** Writes the address of each module that is loaded to standard error. */
const TELLING = `data:text/javascript,${encodeURIComponent(`
  import { writeSync } from 'node:fs';
  export const load = (url, context, next) => { writeSync(2, 'loads ' + url + '\\n'); return next(url, context); };
`)}`;
const REGISTER = `data:text/javascript,${encodeURIComponent(`
  import { register } from 'node:module';
  register(${JSON.stringify(TELLING)});
`)}`;

/** Packages that `causeway WORDS` loads, by their names. */
function packagesOf(...words: string[]): Set<string> {
  const args = ['--import', REGISTER, `${root}bin/causeway`, ...words];
  const { stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  const files = [...stderr.matchAll(/^loads file:\/\/(.*\/bundle\/.*)$/gm)].map((match) => match[1]!);
  expect(files).toContain(`${root}dist/bundle/cli.js`);
  const named = files.flatMap((file) => [
    ...readFileSync(file, 'utf8').matchAll(/^\/\/ node_modules\/((?:@[^/]+\/)?[^/]+)/gm),
  ]);
  return new Set(named.map((match) => match[1]!));
}

describe.skipIf(!isBuilt)('a command that only asks the agent (needs a build)', () => {
  it.each(['status', 'links', 'routes', 'flows', 'down', 'ping a', 'trace a'])(
    '`%s` starts without the weight of configuration and certificates',
    (line) => {
      expect(packagesOf(...line.split(' '), '-s', '/nowhere')).toEqual(new Set(['commander']));
    },
  );

  it('which `check` needs', () => {
    expect(packagesOf('check', '-c', '/nowhere')).toContain('zod');
  });
});
