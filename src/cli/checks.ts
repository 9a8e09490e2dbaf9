/** The checks of `causeway doctor` that need no agent. Each says what it saw and, where something is amiss, what to do. */
import { preflight } from '../agent/config/index.js';
import type { Config } from '../agent/config/index.js';
import type { Finding } from '../control/api.js';
import type { Host } from './host.js';
import { checkRivals } from './rivals.js';

/** Bytes around an inner packet, not sealed end to end: record header and tag, routed header, UDP; plus IP of the underlay. */
const OVERHEAD = 56 + 8;
const IP_HEADER = { 4: 20, 6: 40 } as const;

/** Linux capabilities(7) by bit. */
const CAPABILITIES = { 12: 'CAP_NET_ADMIN', 13: 'CAP_NET_RAW' } as const;

/** Before this, a certificate made by this version can't have begun: 2025-01-01. */
const PLAUSIBLE_CLOCK = 1_735_689_600_000;

const ok = (subject: string, message: string): Finding => ({ level: 'ok', subject, message });
const warning = (subject: string, message: string, remedy: string): Finding => ({
  level: 'warning',
  subject,
  message,
  remedy,
});
const error = (subject: string, message: string, remedy: string): Finding => ({
  level: 'error',
  subject,
  message,
  remedy,
});

/** `config` null: only what concerns the machine. `running`: an agent holds the device and the port. */
export async function checkHost(host: Host, config: Config | null, running: boolean): Promise<Finding[]> {
  const groups: (Finding[] | Promise<Finding[]>)[] = [
    checkKernel(host.kernel()),
    checkTun(host),
    running ? [] : checkPermissions(host),
    checkEngine(host),
    checkClock(host),
    checkTools(host),
    checkSysctls(host),
  ];
  if (config !== null) {
    groups.push(checkIdentity(config, host.wallClock()), checkMtu(host, config));
    groups.push(checkRivals(host, config.tun.name));
    if (!running) groups.push(checkDeviceName(host, config));
  }
  return (await Promise.all(groups)).flat();
}

/** What each kernel brought that we use; the rest falls back by itself. */
const KERNEL_FEATURES: readonly (readonly [number, number, string])[] = [
  [4, 18, 'UDP segmentation'],
  [5, 0, 'UDP coalescing'],
  [6, 2, 'UDP segmentation on the TUN device'],
];

function checkKernel(release: string): Finding[] {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (match === null) return [warning('kernel', `of unknown version ${release}`, 'use Linux 5.12 or later')];
  const at = (major: number, minor: number): boolean =>
    Number(match[1]) > major || (Number(match[1]) === major && Number(match[2]) >= minor);
  if (!at(5, 12))
    return [warning('kernel', `${release} is older than 5.12, and slower here`, 'use Linux 5.12 or later')];
  const missing = KERNEL_FEATURES.filter(([major, minor]) => !at(major, minor)).map(([, , what]) => what);
  return [ok('kernel', missing.length === 0 ? release : `${release}, without ${missing.join(', ')}`)];
}

function checkTun(host: Host): Finding[] {
  const code = host.open('/dev/net/tun');
  if (code === null) return [ok('tun', '/dev/net/tun opens')];
  const remedies: Record<string, string> = {
    ENOENT: 'run "modprobe tun"; in a container, pass the device in (--device /dev/net/tun)',
    ENODEV: 'run "modprobe tun"',
    EACCES: 'run as root',
    EPERM: 'in a container, allow the device (--device /dev/net/tun)',
  };
  return [error('tun', `/dev/net/tun doesn't open (${code})`, remedies[code] ?? 'see the kernel log')];
}

function checkPermissions(host: Host): Finding[] {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(host.read('/proc/self/status') ?? '')?.[1];
  if (mask === undefined)
    return [warning('permissions', "can't be told from /proc/self/status", 'mount /proc')];
  const missing = Object.entries(CAPABILITIES).filter(
    ([bit]) => ((BigInt(`0x${mask}`) >> BigInt(bit)) & 1n) === 0n,
  );
  if (missing.length === 0) return [ok('permissions', Object.values(CAPABILITIES).join(' and '))];
  const names = missing.map(([, name]) => name).join(' and ');
  return [
    error('permissions', `without ${names}`, 'run as root, or start it with systemd (causeway@.service)'),
  ];
}

async function checkEngine(host: Host): Promise<Finding[]> {
  try {
    const { name, aes } = await host.engine();
    return [ok('engine', `native, ${name}${aes ? '' : ', no AES instructions: ChaCha20-Poly1305'}`)];
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
    return [
      warning(
        'engine',
        `the native addon doesn't load: ${why}`,
        'run "make build"; or "causeway up --plain", slowly',
      ),
    ];
  }
}

async function checkClock(host: Host): Promise<Finding[]> {
  const now = host.wallClock();
  const shown = new Date(now).toISOString().slice(0, 19);
  const remedy = 'set it, and keep it right with "timedatectl set-ntp true"';
  if (now < PLAUSIBLE_CLOCK)
    return [error('clock', `says ${shown}Z; certificates will seem not yet valid`, remedy)];
  const synchronized = await host.run('timedatectl', ['show', '--property=NTPSynchronized', '--value']);
  if (synchronized === 'no') return [warning('clock', `${shown}Z, not kept right by NTP`, remedy)];
  return [ok('clock', `${shown}Z${synchronized === 'yes' ? ', kept right by NTP' : ''}`)];
}

async function checkTools(host: Host): Promise<Finding[]> {
  const [ip, nft] = await Promise.all([host.run('ip', ['-V']), host.run('nft', ['--version'])]);
  return [
    ip === null
      ? error('ip', 'the ip command is missing', 'run "apt-get install iproute2"')
      : ok('ip', ip.replace(/^ip utility, /, '')),
    nft === null
      ? warning('nft', 'the nft command is missing', 'run "apt-get install nftables"')
      : ok('nft', nft.replace(/ \(.*/, '')),
  ];
}

function checkSysctls(host: Host): Finding[] {
  const value = (name: string): string | null => host.read(`/proc/sys/${name.replaceAll('.', '/')}`);
  const findings: Finding[] = [];
  if (value('net.ipv4.conf.all.rp_filter') === '1') {
    const message = 'net.ipv4.conf.all.rp_filter is 1: packets of prefixes behind other nodes may be dropped';
    findings.push(warning('sysctl', message, 'run "sysctl net.ipv4.conf.all.rp_filter=2"'));
  }
  if (value('net.ipv6.conf.default.disable_ipv6') === '1') {
    const message = 'net.ipv6.conf.default.disable_ipv6 is 1: IPv6 addresses of the overlay fail';
    findings.push(warning('sysctl', message, 'run "sysctl net.ipv6.conf.default.disable_ipv6=0"'));
  }
  const forwarding = value('net.ipv4.ip_forward') === '1' ? 'on' : 'off';
  findings.push(
    ok('sysctl', `IPv4 forwarding is ${forwarding} (matters only for prefixes behind this host)`),
  );
  return findings;
}

function checkIdentity(config: Config, wallMs: number): Finding[] {
  const problems = preflight(config, wallMs);
  if (problems.length === 0) return [ok('certificate', `good for node ${config.node}`)];
  return problems.map(({ level, key, message }) => ({ level, subject: key, message }));
}

/** An interface of our name without an agent is what a crash left, or someone else's. */
function checkDeviceName(host: Host, { tun, file }: Config): Finding[] {
  if (host.read(`/sys/class/net/${tun.name}/ifindex`) === null) return [];
  const remedy = `run "causeway down -c ${file}" if a crash left it, else name another tun.name`;
  return [error('tun', `${tun.name} exists already`, remedy)];
}

/** Bytes of an inner packet that any network has room for: what every IPv6 link carries, less what is around it. */
const ROOM_LEAST = 1280 - OVERHEAD - IP_HEADER[6];

/** Whether full packets to each configured endpoint fit what the kernel knows of the way there. */
async function checkMtu(host: Host, config: Config): Promise<Finding[]> {
  const endpoints = config.peers.flatMap(({ name, endpoints }) =>
    endpoints.map(({ host: address }) => ({ name, address })),
  );
  return Promise.all(
    endpoints.map(async ({ name, address }) => {
      const subject = `mtu to ${name}`;
      const route = parseRoute(await host.run('ip', ['-json', 'route', 'get', address]));
      if (route === null)
        return error(subject, `no route to ${address}`, "check the address and this host's default route");
      const mtu = route.mtu ?? Number(host.read(`/sys/class/net/${route.device}/mtu`) ?? 1500);
      const room = mtu - OVERHEAD - IP_HEADER[address.includes(':') ? 6 : 4];
      if (room >= config.tun.mtu) return ok(subject, `${mtu} by ${route.device}, room for ${room}`);
      if (config.links.split && room >= ROOM_LEAST)
        return ok(subject, `${mtu} by ${route.device}, room for ${room}: larger packets go in pieces`);
      const message = `${mtu} by ${route.device}: no room for packets of tun.mtu ${config.tun.mtu}`;
      return warning(
        subject,
        message,
        room >= 1280 ? `set tun.mtu to ${room}` : 'use a network with a larger MTU',
      );
    }),
  );
}

function parseRoute(text: string | null): { device: string; mtu?: number } | null {
  try {
    const [route] = JSON.parse(text ?? '') as { dev: string; metrics?: { mtu?: number }[] }[];
    const mtu = route.metrics?.find((metric) => metric.mtu !== undefined)?.mtu;
    return { device: route.dev, ...(mtu !== undefined && { mtu }) };
  } catch {
    return null;
  }
}
