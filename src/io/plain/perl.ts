/**
 * The few system calls that Node.js lacks, made by a short-lived `perl` on a descriptor that it inherits: what it does to the
 * open file description holds for ours. perl-base is essential on Debian, so this needs nothing to be installed or compiled.
 *
 * Numbers are those of Linux on x86, ARM and RISC-V.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { IoError } from '../ports.js';

/** IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL (linux/if_tun.h). */
const TUN_FLAGS = 0x0001 | 0x1000 | 0x8000;
const TUNSETIFF = 0x400454ca;
const SO_MARK = 36;

/** Each script leaves errno as its exit status. */
const scripts = {
  attachTun: `open(my $fd, "+<&=", 3) or exit($!); my $request = pack("a16 s x22", $ARGV[0], ${TUN_FLAGS});
    ioctl($fd, ${TUNSETIFF}, $request) or exit($!);`,
  mark: `use Socket; open(my $fd, "+<&=", 3) or exit($!);
    setsockopt($fd, SOL_SOCKET, ${SO_MARK}, pack("I", $ARGV[0])) or exit($!);`,
  notify: `use Socket; my $path = $ENV{NOTIFY_SOCKET}; $path =~ s/^@/\\0/;
    socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or exit($!); defined(send($s, $ARGV[0], 0, pack_sockaddr_un($path))) or exit($!);`,
};

/** Waits for one byte, then until descriptor 3 is readable, then says so with one byte; ends with its standard input. */
const watchScript = `while (sysread(STDIN, my $go, 1)) { my $set = ""; vec($set, 0, 1) = 1; vec($set, 3, 1) = 1;
  select($set, undef, undef, undef) < 0 and exit($!); vec($set, 0, 1) and exit(0); syswrite(STDOUT, "r") or exit($!); }`;

/** Name of an errno, such as EBUSY; UNKNOWN for a number that isn't one. */
export function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, number]) => number === errno);
  return found ? found[0] : 'UNKNOWN';
}

/** Runs a script. Returns the errno it failed with, 0 for none; throws where there is no perl. */
function run(script: string, argument: string, fd?: number): number {
  const stdio: ('ignore' | number)[] = ['ignore', 'ignore', 'ignore', ...(fd === undefined ? [] : [fd])];
  const child = spawnSync('perl', ['-e', script, argument], { stdio });
  if (child.error)
    throw new IoError('perl cannot be run, which --plain needs: install perl-base', 'ENOENT', 'spawn perl', {
      cause: child.error,
    });
  return child.status ?? constants.errno.EIO;
}

/** Makes the open /dev/net/tun `fd` the device `name`, without packet information or a vnet header. Throws IoError. */
export function attachTun(fd: number, name: string): void {
  const errno = run(scripts.attachTun, name, fd);
  if (errno === 0) return;
  const code = errnoName(errno);
  const remedies: Record<string, string> = {
    EBUSY: `an interface named ${name} exists already: stop its owner, or choose another tun.name`,
    EPERM: `no permission to create TUN device ${name}: run as root or with CAP_NET_ADMIN`,
  };
  throw new IoError(
    remedies[code] ?? `TUN device ${name} cannot be created: ${code}`,
    code,
    'ioctl(TUNSETIFF)',
  );
}

/** Sets SO_MARK on the socket `fd`. Throws IoError. */
export function markSocket(fd: number, mark: number): void {
  const errno = run(scripts.mark, String(mark), fd);
  if (errno === 0) return;
  const code = errnoName(errno);
  throw new IoError(
    `datagrams cannot be marked ${mark}: ${code}; run as root or with CAP_NET_ADMIN`,
    code,
    'setsockopt(SO_MARK)',
  );
}

/**
 * Sends a state to $NOTIFY_SOCKET; false where that is unset or nobody listens. The sender is a child of ours, so the unit must
 * say `NotifyAccess=all`. Takes some milliseconds.
 */
export function notify(state: string): boolean {
  return Boolean(process.env['NOTIFY_SOCKET']) && run(scripts.notify, state) === 0;
}

/**
 * Sends IP packets that its standard input holds, each behind its length (2 bytes) and its IP version (1 byte). 36 is IPV6_HDRINCL, 255 IPPROTO_RAW,
 * 41 IPPROTO_IPV6.
 */
const rawScript = `use Socket; my %s; sub all { my $b = ""; while (length($b) < $_[0]) { sysread(STDIN, $b, $_[0] - length($b), length($b)) or exit(0) } $b }
  socket($s{4}, AF_INET, SOCK_RAW, 255) or exit($!); if (socket($s{6}, 10, SOCK_RAW, 255)) { setsockopt($s{6}, 41, 36, pack("I", 1)) or exit($!) }
  setsockopt($_, SOL_SOCKET, ${SO_MARK}, pack("I", $ARGV[0])) or exit($!) for grep { defined fileno($_) } values %s; setsockopt($s{4}, SOL_SOCKET, SO_BROADCAST, 1);
  while (1) { my ($n, $v) = unpack("nC", all(3)); my $p = all($n);
    my $to = $v == 4 ? pack_sockaddr_in(0, substr($p, 16, 4)) : Socket::pack_sockaddr_in6(0, substr($p, 24, 16)); send($s{$v}, $p, 0, $to) }`;

/** A perl that sends what `send` gives it until `close`. */
export function openRaw(mark: number): { send(packet: Uint8Array, version: 4 | 6): void; close(): void } {
  const child = spawn('perl', ['-e', rawScript, String(mark)], { stdio: ['pipe', 'ignore', 'ignore'] });
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  return {
    send(packet, version) {
      child.stdin.write(Buffer.of(packet.length >>> 8, packet.length & 0xff, version));
      child.stdin.write(packet);
    },
    close() {
      child.stdin.end();
    },
  };
}

/** Tells when a descriptor can be read, for one that Node's event loop can't watch. */
export interface Watch {
  /** Asks for one call of `onReadable`. Asking again before that changes nothing. */
  arm(): void;
  close(): void;
}

export function watchReadable(fd: number, onReadable: () => void): Watch {
  const child: ChildProcess = spawn('perl', ['-e', watchScript], { stdio: ['pipe', 'pipe', 'ignore', fd] });
  let armed = false;
  child.on('error', () => undefined);
  child.stdin?.on('error', () => undefined);
  child.stdout?.on('data', () => {
    armed = false;
    onReadable();
  });
  return {
    arm() {
      if (armed) return;
      armed = true;
      child.stdin?.write('.');
    },
    close() {
      child.stdout?.removeAllListeners('data');
      child.stdin?.destroy();
      child.kill();
    },
  };
}
