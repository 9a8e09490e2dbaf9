/** `causeway ca` on real files, held against openssl. Needs openssl; no root. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { registerCa } from '../../../src/cli/ca.js';
import { explainError } from '../../../src/cli/errors.js';
import {
  checkKeyMatches,
  nodeIdOf,
  parseCertificate,
  parsePrivateKey,
  TrustStore,
} from '../../../src/crypto/identity/index.js';

const OVERLAY = '10.77.0.0/16,fd77::/48';
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'causeway-ca-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

interface Run {
  code: number;
  out: string;
  err: string;
}

const at = (file: string): string => join(directory, file);
const text = (file: string): string => readFileSync(at(file), 'utf8');
const modeOf = (file: string): number => statSync(at(file)).mode & 0o777;

async function causeway(...argv: string[]): Promise<Run> {
  const run: Run = { code: 0, out: '', err: '' };
  const program = new Command('causeway').exitOverride().configureOutput({
    writeOut: (line) => (run.out += line),
    writeErr: (line) => (run.err += line),
  });
  registerCa(program);
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    const { exitCode, lines } = explainError(error, false);
    run.code = exitCode;
    run.err += lines.map((line) => `${line}\n`).join('');
  }
  return run;
}

const init = (...more: string[]): Promise<Run> =>
  causeway('ca', 'init', '--overlay', OVERLAY, '--out-dir', directory, ...more);

/** Signs into the test's directory; the last of a repeated option counts. */
function sign(name: string, address: string, ...more: string[]): Promise<Run> {
  const files = ['--ca', at('ca.crt'), '--out', at(`${name}.crt`)];
  const key = more.some((option) => option === '--csr' || option === '--public-key')
    ? []
    : ['--key', at(`${name}.key`)];
  return causeway('ca', 'sign', '--name', name, '--address', address, ...files, ...key, ...more);
}

/** Verdict of `openssl verify`: its output, errors included. */
function opensslVerify(file: string): string {
  const { stdout, stderr } = spawnSync('openssl', ['verify', '-CAfile', at('ca.crt'), at(file)], {
    encoding: 'utf8',
  });
  return stdout + stderr;
}

const openssl = (...argv: string[]): string =>
  execFileSync('openssl', argv, { cwd: directory, encoding: 'utf8', stdio: 'pipe' });

function verdictOf(file: string): ReturnType<TrustStore['verify']> {
  const read = parseCertificate(readFileSync(at(file)));
  if (!read.ok) return read;
  return TrustStore.fromPem(text('ca.crt')).verify(read.certificate.der, Date.now());
}

function rememberFiles(): Record<string, string> {
  return Object.fromEntries(readdirSync(directory).map((file) => [file, text(file)]));
}

describe('ca init and ca sign', () => {
  it('make what openssl shows in full and verifies', async () => {
    expect(await init()).toMatchObject({ code: 0, err: '' });
    const signed = await sign(
      'a',
      '10.77.0.1,fd77::1',
      '--route',
      '10.20.0.0/16',
      '--group',
      'db',
      '--group',
      'eu',
      '--role',
      'relay',
    );
    expect(signed).toMatchObject({ code: 0, err: '' });
    const caText = openssl('x509', '-in', 'ca.crt', '-noout', '-text');
    expect(caText).toMatch(
      /Name Constraints: critical\s+Permitted:\s+IP:10.77.0.0\/255.255.0.0\s+IP:FD77:0:0:0:0:0:0:0\/FFFF:FFFF:FFFF:0:0:0:0:0/,
    );
    expect(caText).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(caText).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
    const nodeText = openssl('x509', '-in', 'a.crt', '-noout', '-text');
    expect(nodeText).toContain('ED25519');
    expect(nodeText).toContain(
      'DNS:a, IP Address:10.77.0.1, IP Address:FD77:0:0:0:0:0:0:1, URI:causeway:route:10.20.0.0/16, URI:causeway:group:db, URI:causeway:group:eu, URI:causeway:role:relay',
    );
    expect(nodeText).toMatch(/Issuer: CN = Causeway CA\n/);
    expect(opensslVerify('a.crt')).toBe(`${at('a.crt')}: OK\n`);
    expect(verdictOf('a.crt')).toMatchObject({ ok: true, certificate: { name: 'a' } });
  });

  it('write keys with mode 0600 that match their certificates, and no other files', async () => {
    await init();
    await sign('a', '10.77.0.1');
    expect(readdirSync(directory).sort()).toEqual(['a.crt', 'a.key', 'ca.crt', 'ca.index.json', 'ca.key']);
    expect([modeOf('ca.key'), modeOf('a.key'), modeOf('a.crt')]).toEqual([0o600, 0o600, 0o644]);
    const key = parsePrivateKey(text('a.key'));
    const read = parseCertificate(text('a.crt'));
    expect(key.ok && read.ok && checkKeyMatches(read.certificate, key.key)).toEqual({ ok: true });
    expect(openssl('pkey', '-in', 'a.key', '-pubout')).toBe(
      openssl('x509', '-in', 'a.crt', '-noout', '-pubkey'),
    );
  });

  it('replace nothing without --force, and write neither output when one exists', async () => {
    await init();
    await sign('a', '10.77.0.1');
    rmSync(at('a.crt'));
    const before = rememberFiles();
    const again = await sign('a', '10.77.0.1');
    expect(again.code).toBe(1);
    expect(again.err).toMatch(/^causeway: .*a\.key exists; nothing was written .*--force/);
    expect((await init()).err).toMatch(/ca\.crt exists/);
    expect(rememberFiles()).toEqual(before);
    expect((await sign('a', '10.77.0.1', '--force')).code).toBe(0);
    expect(text('a.key')).not.toBe(before['a.key']);
    expect(modeOf('a.key')).toBe(0o600);
  });

  it("never write over the CA's own files, not even by force", async () => {
    await init();
    const before = rememberFiles();
    expect(await sign('a', '10.77.0.1', '--key', at('ca.key'), '--force')).toMatchObject({ code: 2 });
    expect(await sign('a', '10.77.0.1', '--out', join(directory, '.', 'ca.crt'), '--force')).toMatchObject({
      code: 2,
    });
    expect(rememberFiles()).toEqual(before);
  });

  it('refuse an address or a node id that another node holds, and let a node renew', async () => {
    await init();
    await sign('a', '10.77.0.1,fd77::1');
    const taken = await sign('b', '10.77.0.2,fd77:0::1');
    expect(taken).toMatchObject({
      code: 1,
      err: 'causeway: address fd77::1 already belongs to "a"; choose another\n',
    });
    expect(existsSync(at('b.key'))).toBe(false);
    expect((await sign('a', '10.77.0.1', '--force')).code).toBe(0);
    const index = JSON.parse(text('ca.index.json'));
    index.issued.push({ ...index.issued[0], name: 'twin', addresses: [], nodeId: nodeIdOf('b') });
    writeFileSync(at('ca.index.json'), JSON.stringify(index));
    expect((await sign('b', '10.77.0.2')).err).toMatch(/node id 3e23e816 of "b" is already that of "twin"/);
  });

  it('give one address to one of many requests at the same moment', async () => {
    await init();
    const runs = await Promise.all(['a', 'b', 'c', 'd'].map((name) => sign(name, '10.77.0.1')));
    expect(runs.filter((run) => run.code === 0)).toHaveLength(1);
    expect(JSON.parse(text('ca.index.json')).issued).toHaveLength(1);
    expect(readdirSync(directory).filter((file) => /tmp|lock/.test(file))).toEqual([]);
  });

  it('work without an index after saying so, and refuse a broken one', async () => {
    await init();
    rmSync(at('ca.index.json'));
    const signed = await sign('a', '10.77.0.1');
    expect(signed).toMatchObject({ code: 0, err: expect.stringMatching(/ca\.index\.json is missing/) });
    expect((await sign('b', '10.77.0.1')).code).toBe(1);
    writeFileSync(at('ca.index.json'), '{');
    expect(await sign('b', '10.77.0.2')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/ca\.index\.json is not JSON; .*move it away/),
    });
  });

  it("end no certificate after its CA's", async () => {
    await init('--days', '10');
    expect((await sign('a', '10.77.0.1')).err).toBe('');
    expect((await sign('b', '10.77.0.2', '--days', '20')).err).toMatch(/so does this certificate/);
    const ends = ['ca.crt', 'a.crt', 'b.crt'].map((file) =>
      openssl('x509', '-in', file, '-noout', '-enddate'),
    );
    expect(new Set(ends).size).toBe(1);
  });

  it('sign a request or a public key, whose private half stays where it is', async () => {
    await init();
    openssl('genpkey', '-algorithm', 'ed25519', '-out', 'host.pem');
    openssl('req', '-new', '-key', 'host.pem', '-subj', '/CN=ignored', '-out', 'host.csr');
    openssl('req', '-in', 'host.csr', '-outform', 'DER', '-out', 'host.der');
    openssl('pkey', '-in', 'host.pem', '-pubout', '-out', 'host.pub');
    for (const [name, option, file] of [
      ['x', '--csr', 'host.csr'],
      ['y', '--csr', 'host.der'],
      ['z', '--public-key', 'host.pub'],
    ]) {
      expect(await sign(name, `10.77.1.${name.charCodeAt(0)}`, option, at(file))).toMatchObject({
        code: 0,
        err: '',
      });
      expect(existsSync(at(`${name}.key`))).toBe(false);
      expect(openssl('x509', '-in', `${name}.crt`, '-noout', '-pubkey')).toBe(text('host.pub'));
      expect(opensslVerify(`${name}.crt`)).toContain(': OK');
    }
    const forged = readFileSync(at('host.der'));
    forged[forged.length - 1] ^= 1;
    writeFileSync(at('forged.der'), forged);
    expect(await sign('w', '10.77.0.9', '--csr', at('forged.der'))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/not signed by its own key/),
    });
  });
});

describe('wrong usage', () => {
  it.each([
    [['--name', 'A'], /"A" has capitals/],
    [['--name', 'a_b'], /"a_b" is no DNS name/],
    [['--name', 'x'.repeat(64)], /64 characters/],
    [['--address', '10.78.0.1'], /10\.78\.0\.1 lies outside the overlay \(10\.77\.0\.0\/16, fd77::\/48\)/],
    [['--address', '10.77.0'], /"10\.77\.0" is no IP address/],
    [['--route', '10.20.0.1/16'], /did you mean 10\.20\.0\.0\/16/],
    [['--group', 'D'], /group "D"/],
    [['--role', 'a:b'], /role "a:b"/],
    [['--days', '0'], /--days 0/],
    [['--no-such'], /unknown option/],
  ])('of ca sign, %j, ends with 2 and one line', async (options, message) => {
    await init();
    const before = readdirSync(directory);
    const run = await causeway(
      'ca',
      'sign',
      '--ca',
      at('ca.crt'),
      '--out',
      at('n.crt'),
      '--key',
      at('n.key'),
      ...(options.includes('--name') ? [] : ['--name', 'n']),
      ...(options.includes('--address') ? [] : ['--address', '10.77.0.1']),
      ...options,
    );
    expect(run.code).toBe(2);
    expect(run.err).toMatch(message);
    expect(run.err.trimEnd().split('\n')).toHaveLength(1);
    expect(readdirSync(directory)).toEqual(before);
  });

  it.each([
    [[], /at least one prefix/],
    [['--overlay', '10.77.0.1/16'], /did you mean 10\.77\.0\.0\/16/],
    [['--overlay', '0.0.0.0/0'], /every address/],
    [['--overlay', '10.0.0.0/8', '--days', 'x'], /--days x/],
    [['--overlay', '10.0.0.0/8', '--key', 'ca.crt'], /files of their own/],
  ])('of ca init, %j, ends with 2 and writes nothing', async (options, message) => {
    const run = await causeway('ca', 'init', '--out-dir', directory, ...options);
    expect(run).toMatchObject({ code: 2, err: expect.stringMatching(message) });
    expect(readdirSync(directory)).toEqual([]);
  });

  it('a missing CA, a foreign key and a place that cannot be written end with 1 and the remedy', async () => {
    expect(await sign('a', '10.77.0.1')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/ca\.crt: no such file.*causeway ca init/),
    });
    await init();
    await sign('a', '10.77.0.1');
    expect((await sign('b', '10.77.0.2', '--ca-key', at('a.key'))).err).toMatch(
      /a\.key: the private key is not the one of certificate "CN=Causeway CA"/,
    );
    expect((await sign('b', '10.77.0.2', '--ca', at('a.crt'), '--ca-key', at('a.key'))).err).toMatch(
      /a\.crt: .*no CA's certificate/,
    );
    const before = readdirSync(directory);
    expect(await sign('b', '10.77.0.2', '--out', at('no/such/b.crt'))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no such file or directory/),
    });
    expect(readdirSync(directory)).toEqual(before);
  });
});

describe('ca show', () => {
  it('tells what a node certificate says, in PEM and in DER', async () => {
    await init();
    await sign(
      'db1.example',
      '10.77.0.1,fd77::1',
      '--route',
      '10.20.0.0/16',
      '--group',
      'db',
      '--role',
      'relay',
    );
    const shown = await causeway('ca', 'show', at('db1.example.crt'));
    const id = nodeIdOf('db1.example').toString(16).padStart(8, '0');
    for (const line of [
      'db1.example',
      id,
      '10.77.0.1, fd77::1',
      '10.20.0.0/16',
      'db',
      'relay',
      'CN=Causeway CA',
    ]) {
      expect(shown.out.split('\n')).toContainEqual(expect.stringMatching(new RegExp(`  ${line}$`)));
    }
    expect(shown.out).toMatch(/\(364 days left\)|\(365 days left\)/);
    openssl('x509', '-in', 'db1.example.crt', '-outform', 'DER', '-out', 'db1.der');
    expect((await causeway('ca', 'show', at('db1.der'))).out).toBe(shown.out);
    const fingerprint = openssl('x509', '-in', 'db1.example.crt', '-noout', '-fingerprint', '-sha256');
    expect(shown.out).toContain(fingerprint.trim().split('=')[1].replaceAll(':', '').toLowerCase());
  });

  it('gives the same as JSON', async () => {
    const made = await init('--name', 'My CA', '--json');
    const signed = await sign('a', '10.77.0.1', '--json');
    const shown = JSON.parse((await causeway('ca', 'show', '--json', at('a.crt'))).out);
    expect(shown).toMatchObject({
      kind: 'node',
      name: 'a',
      nodeId: 0xca978112,
      addresses: ['10.77.0.1'],
      issuer: 'CN=My CA',
      daysLeft: 364,
    });
    expect(JSON.parse(signed.out)).toEqual({
      ...shown,
      files: { certificate: at('a.crt'), key: at('a.key') },
    });
    const ca = JSON.parse((await causeway('ca', 'show', '--json', at('ca.crt'))).out);
    expect(ca).toMatchObject({ kind: 'ca', name: 'My CA', overlay: ['10.77.0.0/16', 'fd77::/48'] });
    expect(JSON.parse(made.out)).toMatchObject(ca);
  });

  it('says what a file is that holds no certificate', async () => {
    await init();
    expect(await causeway('ca', 'show', at('ca.key'))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/ca\.key holds a private key, no certificate/),
    });
    expect(await causeway('ca', 'show', at('none'))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no such file/),
    });
    expect(await causeway('ca', 'show', at('ca.index.json'))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no certificate in PEM or DER form/),
    });
  });
});

describe('plain openssl', () => {
  /** The commands of docs/identity.md, as a reader would type them. */
  const recipe = readFileSync(new URL('../../../docs/identity.md', import.meta.url), 'utf8');
  const blocks = [...recipe.matchAll(/```sh openssl\n([\s\S]*?)```/g)].map(([, commands]) => commands);
  const run = (commands: string): string =>
    execFileSync('sh', ['-e'], { cwd: directory, input: commands, encoding: 'utf8', stdio: 'pipe' });

  it('issues certificates as documented, which we take and can go on from', async () => {
    expect(blocks).toHaveLength(2);
    expect(run(blocks.join('\n'))).toContain('a.crt: OK');
    expect(verdictOf('a.crt')).toMatchObject({
      ok: true,
      certificate: {
        name: 'a',
        addresses: [{ text: '10.77.0.1' }, { text: 'fd77::1' }],
        routes: [{ text: '10.20.0.0/16' }],
        groups: ['db'],
        roles: ['relay'],
      },
      authority: { overlayPrefixes: [{ text: '10.77.0.0/16' }, { text: 'fd77::/48' }] },
    });
    expect(await sign('b', '10.77.0.2')).toMatchObject({ code: 0, err: expect.stringContaining('missing') });
    expect(opensslVerify('b.crt')).toContain(': OK');
  });

  it.each([
    [
      'an address outside the constraints',
      'IP:10.77.0.1',
      'IP:10.78.0.1',
      'outside-constraints',
      /permitted subtree violation/,
    ],
    [
      'an IPv6 address outside the constraints',
      'IP:fd77::1',
      'IP:fd78::1',
      'outside-constraints',
      /permitted subtree violation/,
    ],
  ])('and we agree on %s', (_, before, after, reason, words) => {
    spawnSync('sh', [], { cwd: directory, input: blocks.join('\n').replace(before, after) });
    expect(opensslVerify('a.crt')).toMatch(words);
    expect(verdictOf('a.crt')).toMatchObject({ ok: false, reason });
  });

  it.each([
    [
      'an unknown critical extension',
      'END\nopenssl genpkey -algorithm ed25519 -out a.key',
      '1.2.3.4 = critical, ASN1:NULL\nEND\nopenssl genpkey -algorithm ed25519 -out a.key',
      'unknown-critical',
    ],
    [
      'a key of another kind',
      'openssl genpkey -algorithm ed25519 -out a.key',
      'openssl ecparam -name prime256v1 -genkey -noout -out a.key',
      'not-ed25519',
    ],
    ['two names', 'DNS:a,', 'DNS:a, DNS:b,', 'not-a-node'],
    ['no name', 'DNS:a,', '', 'not-a-node'],
    ['a route with host bits', '10.20.0.0/16', '10.20.0.1/16', 'malformed'],
    ['a name in capitals', 'DNS:a,', 'DNS:A,', 'malformed'],
    ['a usage without signatures', 'digitalSignature', 'keyAgreement', 'not-a-node'],
    ['a CA among the nodes', 'CA:FALSE', 'CA:TRUE', 'not-a-node'],
  ])('may issue %s, which we refuse', (_, before, after, reason) => {
    const [ca, node] = blocks;
    expect(node).toContain(before);
    run(`${ca}\n${node.replace(before, after).replace(/openssl verify.*/, '')}`);
    expect(verdictOf('a.crt')).toMatchObject({ ok: false, reason });
  });

  it.each([
    ['has no overlay prefixes', /\nnameConstraints.*/, '', /names no overlay prefixes/],
    [
      'constrains DNS names',
      'permitted;IP:10.77.0.0/255.255.0.0',
      'permitted;DNS:example.com',
      /constrains other names/,
    ],
    ['may not sign', 'keyCertSign, cRLSign', 'digitalSignature', /may not sign/],
  ])('may make a CA that %s, which we refuse', (_, before, after, message) => {
    run(blocks[0].replace(before, after));
    expect(() => TrustStore.fromPem(text('ca.crt'))).toThrow(message);
  });

  it('may chain through an intermediate CA, which is refused clearly', () => {
    const [ca, node] = blocks;
    run(`${ca}
      openssl genpkey -algorithm ed25519 -out mid.key
      openssl req -new -key mid.key -subj /CN=Middle -out mid.csr
      openssl x509 -req -in mid.csr -CA ca.crt -CAkey ca.key -set_serial 2 -days 9 -extfile ca.cnf -extensions ca -out mid.crt
      ${node.replace('-CA ca.crt -CAkey ca.key', '-CA mid.crt -CAkey mid.key').replace(/openssl verify.*/, '')}`);
    const verdict = verdictOf('a.crt');
    expect(verdict).toMatchObject({
      ok: false,
      reason: 'unknown-ca',
      text: expect.stringMatching(/CN=Middle.*intermediate CAs are not used/),
    });
    expect(() => TrustStore.fromPem(text('mid.crt'))).toThrow(
      /"CN=Middle" is an intermediate of "CN=Example CA"/,
    );
  });
});
