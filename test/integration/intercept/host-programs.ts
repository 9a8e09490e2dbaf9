/** Servers that people run, on one host's addresses, and their clients on another. None of them knows of an overlay. */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Host, type Program, well } from '../../support/net.js';
import { eventually } from '../agent/overlay.js';

/** Lies in what each server without encryption of its own says. */
export const SECRET = 'the-price-of-tea';
/** Bytes: many segments. */
const BULK = 300_000;
/** Debian's PostgreSQL refuses to run as root. */
const DATABASE_USER = 'postgres';

export class Servers {
  private readonly directory = mkdtempSync(join(tmpdir(), 'causeway-programs-'));
  private readonly running: Program[] = [];
  private readonly sessions: Program[] = [];
  private database: Program | undefined;
  private readonly sshOptions: string[];

  constructor(
    private readonly host: Host,
    private readonly addresses: readonly string[],
  ) {
    chmodSync(this.directory, 0o711);
    this.sshOptions = [
      ...['-T', '-q', '-F', '/dev/null', '-i', this.at('ssh/user')],
      ...['BatchMode=yes', 'IdentitiesOnly=yes', `UserKnownHostsFile=${this.at('ssh/known_hosts')}`].flatMap(
        (option) => ['-o', option],
      ),
    ];
  }

  async start(): Promise<void> {
    this.startNginx();
    this.startNames();
    for (const address of this.addresses) this.run('iperf3', '-s', '-B', address);
    await this.startSsh();
    await this.startDatabase();
    for (const port of [22, 53, 80, 5201, 5432]) await this.listens(port);
  }

  /**
   * In peace, clients first: then no child of a server outlives it, and nothing of the database's shared memory stays.
   */
  async stop(): Promise<void> {
    await Promise.all(this.sessions.map((session) => session.stop()));
    await this.database?.stop('SIGINT');
    await Promise.all(this.running.map((program) => program.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  // --- clients, on another host ---

  /** What the database says of who asks. */
  async psql(from: Host, address: string): Promise<string> {
    const query = "select host(inet_client_addr()) || ' ' || word || ' ' || length(bulk) from secrets";
    return (await from.well(...this.psqlCommand(address), '-c', query)).trim();
  }

  /** A session that goes on; each `askSession` is answered in it. */
  session(from: Host, address: string): Program {
    return this.keep(from.start(...this.psqlCommand(address)));
  }

  private keep(session: Program): Program {
    this.sessions.push(session);
    return session;
  }

  /** What the verifier says of the copy. */
  async baseBackup(from: Host, address: string): Promise<string> {
    const copy = mkdtempSync(join(this.directory, 'backup-'));
    const words = ['-h', address, '-U', DATABASE_USER, '-D', copy, '-X', 'stream', '-c', 'fast'];
    await from.well('pg_basebackup', ...words);
    const said = await well([databaseProgram('pg_verifybackup'), copy]);
    rmSync(copy, { recursive: true });
    return said.trim();
  }

  curl(from: Host, address: string): Promise<string> {
    return from.well('curl', '-sSf', '--noproxy', '*', '--max-time', '20', `http://${inUrl(address)}/`);
  }

  ssh(from: Host, address: string, command: string): Promise<string> {
    return from.well('ssh', ...this.sshOptions, `root@${address}`, command);
  }

  sshSession(from: Host, address: string): Program {
    return this.keep(
      from.start(
        'ssh',
        ...this.sshOptions,
        `root@${address}`,
        'while read word; do echo "$word came back"; done',
      ),
    );
  }

  /** Whether a file is the same after its way there. */
  async scp(from: Host, address: string): Promise<boolean> {
    const [sent, received] = [this.at('sent'), this.at('received')];
    writeFileSync(sent, Buffer.alloc(BULK, SECRET));
    await from.well('scp', ...this.sshOptions, sent, `root@${inUrl(address)}:${received}`);
    const same = readFileSync(received).equals(readFileSync(sent));
    rmSync(received);
    return same;
  }

  /** Bytes that arrived by the time that the client was done, and from where they came. */
  async iperf3(from: Host, address: string): Promise<{ bytes: number; from: string }> {
    const report = JSON.parse(await from.well('iperf3', '-c', address, '-n', '2M', '-J')) as {
      start: { connected: { local_host: string }[] };
      end: { sum_received: { bytes: number } };
    };
    return { bytes: report.end.sum_received.bytes, from: report.start.connected[0].local_host };
  }

  async dig(from: Host, address: string, ...options: string[]): Promise<string> {
    const words = ['+short', '+tries=5', '+time=3', ...options];
    return (await from.well('dig', `@${address}`, ...words, 'tea.example', 'TXT')).trim();
  }

  // --- the servers ---

  private startNginx(): void {
    mkdirSync(this.at('nginx'));
    const listen = this.addresses.map((address) => `listen ${inUrl(address)}:80;`).join(' ');
    writeFileSync(
      this.at('nginx/conf'),
      `user root; daemon off; worker_processes 1; pid ${this.at('nginx/pid')};
events {}
http {
  access_log off;
  server { ${listen} location / { return 200 "$remote_addr ${SECRET} ${'.'.repeat(4000)}"; } }
}
`,
    );
    this.run('nginx', '-p', this.at('nginx'), '-e', this.at('nginx/log'), '-c', this.at('nginx/conf'));
  }

  private startNames(): void {
    this.run(
      ...['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--pid-file', '--user=root'],
      ...['--no-resolv', '--no-hosts', '--bind-interfaces', `--txt-record=tea.example,${SECRET}`],
      ...this.addresses.map((address) => `--listen-address=${address}`),
    );
  }

  /** In a mount namespace of its own it finds the directory that it insists on, and a root account that isn't locked. */
  private async startSsh(): Promise<void> {
    const at = (file: string): string => this.at(`ssh/${file}`);
    mkdirSync(at(''), { mode: 0o700 });
    for (const name of ['host', 'user'])
      await well(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', at(name)]);
    const key = readFileSync(at('host.pub'), 'utf8');
    writeFileSync(at('known_hosts'), this.addresses.map((address) => `${address} ${key}`).join(''));
    writeFileSync(at('shadow'), 'root:*:19000:0:99999:7:::\n', { mode: 0o600 });
    const settings = [
      ...this.addresses.map((address) => `ListenAddress ${inUrl(address)}:22`),
      ...[`HostKey ${at('host')}`, `AuthorizedKeysFile ${at('user.pub')}`, 'PidFile none', 'UsePAM no'],
      ...['StrictModes no', 'PermitRootLogin prohibit-password', 'Subsystem sftp internal-sftp', 'UseDNS no'],
    ];
    writeFileSync(at('sshd_config'), `${settings.join('\n')}\n`);
    const script = `mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd &&
      mount --bind ${at('shadow')} /etc/shadow && exec /usr/sbin/sshd -D -e -f ${at('sshd_config')}`;
    this.run('unshare', '--mount', 'sh', '-c', script);
  }

  private async startDatabase(): Promise<void> {
    const data = this.at('database');
    mkdirSync(data, { mode: 0o700 });
    const id = async (flag: string): Promise<number> => Number(await well(['id', flag, DATABASE_USER]));
    chownSync(data, await id('-u'), await id('-g'));
    await this.asDatabase(
      databaseProgram('initdb'),
      '-D',
      data,
      '-N',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
    );
    const trusted = this.addresses.map((address) => `host all,replication all ${networkOf(address)} trust\n`);
    writeFileSync(join(data, 'pg_hba.conf'), `local all all trust\n${trusted.join('')}`);
    const settings = {
      listen_addresses: this.addresses.join(','),
      unix_socket_directories: data,
      fsync: 'off',
    };
    const words = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    this.database = this.run(...AS_DATABASE, databaseProgram('postgres'), '-D', data, ...words);
    const local = ['psql', '-h', data, '-U', DATABASE_USER, '-qtAX'];
    await eventually(() => this.asDatabase(...local, '-c', 'select 1'));
    const table = `create table secrets as select '${SECRET}' as word, repeat('tea ', ${BULK / 4}) as bulk`;
    await this.asDatabase(...local, '-c', table);
  }

  private psqlCommand(address: string): string[] {
    return ['psql', '-h', address, '-U', DATABASE_USER, '-qtAX'];
  }

  private asDatabase(...command: string[]): Promise<string> {
    return this.host.well(...AS_DATABASE, ...command);
  }

  private run(...command: string[]): Program {
    const program = this.host.start(...command);
    this.running.push(program);
    return program;
  }

  private listens(port: number): Promise<unknown> {
    return eventually(async () => {
      for (const program of this.running)
        expect(program.running, `${program.what}\n${program.text}`).toBe(true);
      const sockets = await this.host.well('ss', '-Hltn', `sport = :${port}`);
      expect(sockets.trim().split('\n')).toHaveLength(this.addresses.length);
    });
  }

  private at(file: string): string {
    return join(this.directory, file);
  }
}

const AS_DATABASE = ['setpriv', '--reuid', DATABASE_USER, '--regid', DATABASE_USER, '--clear-groups'];

/** Debian has a folder per version, and none of it in PATH but what clients need. */
function databaseProgram(name: string): string {
  const root = '/usr/lib/postgresql';
  const [newest] = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return join(root, newest, 'bin', name);
}

function inUrl(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

/** Within which the client's address lies too. */
function networkOf(address: string): string {
  return address.includes(':') ? `${address}/64` : `${address}/30`;
}

/** A question whose answer takes many segments; resolves when it has come. */
export async function askSession(session: Program, stage: string): Promise<void> {
  session.write(
    `select 'answer ${stage}', word, length(bulk), md5(bulk) = md5(repeat('tea ', ${BULK / 4})), bulk from secrets;\n`,
  );
  const answer = new RegExp(`answer ${stage}\\|${SECRET}\\|${BULK}\\|t\\|(tea ){${BULK / 4}}`);
  await eventually(() => expect(answer.test(session.out), session.err).toBe(true));
}

export async function askSsh(session: Program, stage: string): Promise<void> {
  session.write(`${stage}\n`);
  await eventually(() => expect(session.out, session.err).toContain(`${stage} came back`));
}
