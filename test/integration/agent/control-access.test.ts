/** Who may speak to the control socket:  READER may ask, GROUP's members may change things, everyone else neither. */
import { chmodSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Agent, BIN, Overlay, usable } from './overlay.js';

const [READER, MEMBER, STRANGER, GROUP] = [61_011, 61_012, 61_013, 61_110];

describe.skipIf(!usable)('the control socket (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;

  beforeAll(async () => {
    chmodSync(overlay.directory, 0o755);
    a = await overlay.agent(await overlay.ground.host('a'));
    a.control = `read: {users: [${READER}]}, all: {groups: [${GROUP}]}`;
    a.start();
    await a.ready();
  });

  const ask = (user: number, groups: string, ...command: string[]) =>
    a.host.run(
      ...['setpriv', `--reuid=${user}`, `--regid=${user}`, groups, process.execPath, BIN],
      ...[command[0], '-s', a.socket, ...command.slice(1)],
    );

  it('answers whom the configuration names, as far as it does, and refuses others in one line', async () => {
    const [none, member] = ['--clear-groups', `--groups=${GROUP}`];
    expect((await ask(READER, none, 'status')).code).toBe(0);
    const denied = await ask(READER, none, 'reload');
    expect([denied.code, denied.err]).toEqual([
      1,
      `causeway: user ${READER} may not do that (control.all in the agent's configuration)\n`,
    ]);
    expect((await ask(MEMBER, member, 'reload')).out).toBe('nothing changed\n');
    for (const command of ['status', 'reload', 'doctor']) {
      const refused = await ask(STRANGER, none, command);
      expect([command, refused.code, refused.err]).toEqual([
        command,
        1,
        expect.stringContaining('may not do that'),
      ]);
    }
    expect((await a.cli('peers')).code).toBe(0);
  });

  it('counts refusals and logs each once a minute', async () => {
    const { refusals } = await a.client.status();
    expect(refusals.map(({ user, what }) => [user, what])).toEqual([
      [String(READER), 'control: change'],
      [String(STRANGER), 'control'],
      [String(STRANGER), 'control: change'],
    ]);
    const logged = a.log.filter(({ msg }) => msg === 'refused to a user of this host');
    expect(logged.map(({ user, what }) => [user, what])).toEqual(
      refusals.map(({ user, what }) => [user, what]),
    );
  });
});
