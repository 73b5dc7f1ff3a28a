// SPDX-License-Identifier: GPL-2.0
/*
 * Each error of the contract.
 *
 * Not reached here are those that need a kernel without memory (ENOMEM), a signal
 * that kills (EINTR), and a pending error. A transport that goes away under a
 * connection (MAP_RX with ENOTCONN) is in lifetime.c: loopback does not.
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <linux/userfaultfd.h>
#include <linux/vm_sockets.h>

#include "contract.h"
#include "stream.h"
#include "tap.h"

static void *const nowhere = (void *)8;

static int bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

/* Puts a socket into a sockmap of its own; returns the map. */
static int sockmap_with(int fd)
{
	union bpf_attr create = {
		.map_type = BPF_MAP_TYPE_SOCKMAP,
		.key_size = 4,
		.value_size = 4,
		.max_entries = 1,
	};
	union bpf_attr update = {};
	uint32_t key = 0, value = fd;
	int map = bpf(BPF_MAP_CREATE, &create);

	need(map >= 0);
	update.map_fd = map;
	update.key = (uintptr_t)&key;
	update.value = (uintptr_t)&value;
	if (bpf(BPF_MAP_UPDATE_ELEM, &update)) {
		int error = errno;

		close(map);
		errno = error;
		return -1;
	}
	return map;
}

static int open_as_nobody(void *unused)
{
	(void)unused;
	need(!setuid(65534));
	return open(VSOCK_ZEROCOPY_DEVICE, O_RDWR) < 0 ? errno : 0;
}

/* Root in a namespace of nobody's own, as in a container. */
static int open_as_root_of_nobody(void *unused)
{
	(void)unused;
	need(!setuid(65534));
	/* Without namespaces it is nobody all the same. */
	if (unshare(CLONE_NEWUSER))
		tap_note("no user namespace: %s", strerror(errno));
	return open(VSOCK_ZEROCOPY_DEVICE, O_RDWR) < 0 ? errno : 0;
}

static void check_attach_kinds(void)
{
	struct stream packets = stream_open(SOCK_SEQPACKET);
	int file = open("/dev/null", O_RDWR);
	int ip = socket(AF_INET, SOCK_STREAM, 0);
	int fresh = socket(AF_VSOCK, SOCK_STREAM, 0);
	struct sockaddr_vm any = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = VMADDR_PORT_ANY,
	};

	need(file >= 0 && ip >= 0 && fresh >= 0);
	refused(EBADF, attach(-1), "no descriptor");
	refused(EBADF, attach(1000), "a closed descriptor");
	refused(ENOTSOCK, attach(file), "a file");
	refused(EOPNOTSUPP, attach(ip), "a TCP socket");
	refused(EOPNOTSUPP, attach(packets.receiver), "a vsock SEQPACKET socket");
	refused(ENOTCONN, attach(fresh), "a vsock stream without a connection");
	need(!bind(fresh, (struct sockaddr *)&any, sizeof(any)));
	need(!listen(fresh, 1));
	refused(ENOTCONN, attach(fresh), "a vsock listener");

	stream_close(&packets);
	close(file);
	close(ip);
	close(fresh);
}

/* Sends from a page that only the test can fill: it waits with its lock held. */
struct held {
	int socket;
	void *page;
};

static void *send_held(void *argument)
{
	struct held *held = argument;

	send(held->socket, held->page, PAGE, MSG_NOSIGNAL);
	return NULL;
}

static void tcp_pair(int pair[2])
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	need(listener >= 0 && !listen(listener, 1));
	need(!getsockname(listener, (struct sockaddr *)&address, &len));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need((pair[0] = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	need(!connect(pair[0], (struct sockaddr *)&address, sizeof(address)));
	need((pair[1] = accept(listener, NULL, NULL)) >= 0);
	close(listener);
}

/* A socket of another family whose lock is held for as long as its user likes. */
static void check_attach_held(void)
{
	int faults = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range.len = PAGE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_zeropage zero = { .range.len = PAGE };
	struct held held;
	pthread_t sender;
	int pair[2];

	tcp_pair(pair);
	held.socket = pair[0];
	held.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(faults >= 0 && held.page != MAP_FAILED);
	range.range.start = zero.range.start = (uintptr_t)held.page;
	need(!ioctl(faults, UFFDIO_API, &api));
	need(!ioctl(faults, UFFDIO_REGISTER, &range));
	need(!pthread_create(&sender, NULL, send_held, &held));
	need(ready(faults, POLLIN, PATIENCE));

	/* If this waited for the lock, it would wait until the alarm. */
	refused(EOPNOTSUPP, attach(pair[0]), "a TCP socket whose lock is held");
	need(!ioctl(faults, UFFDIO_ZEROPAGE, &zero));
	need(!pthread_join(sender, NULL));
	close(faults);
	need(!munmap(held.page, PAGE));
	close(pair[0]);
	close(pair[1]);
}

void check_attach(void)
{
	struct stream stream = stream_open(SOCK_STREAM);
	int device = open(VSOCK_ZEROCOPY_DEVICE, O_RDWR);
	int map, other;

	tap_section("ATTACH");
	need(device >= 0);
	check(WEXITSTATUS(in_child(open_as_nobody, NULL)) == EACCES,
	      "the device does not open for nobody");
	check(WEXITSTATUS(in_child(open_as_root_of_nobody, NULL)) == EACCES,
	      "nor for root of a user namespace");
	refused(ENOTTY, ioctl(device, _IO(0xBA, 0x91), stream.receiver),
		"another command of its type");
	refused(ENOTTY, ioctl(device, 0, stream.receiver), "no command");
	refused(EBADF, ioctl(device, VSOCK_ZEROCOPY_ATTACH,
			     (1UL << 32) + stream.receiver),
		"more than a descriptor is not cut to one");
	check_attach_kinds();
	check_attach_held();

	need((map = sockmap_with(stream.receiver)) >= 0);
	refused(EBUSY, attach(stream.receiver), "a socket in a sockmap");
	close(map);
	/* The map lets go of it some time later. */
	for (int tries = 0; tries < PATIENCE; tries++) {
		if (!ioctl(device, VSOCK_ZEROCOPY_ATTACH, stream.receiver))
			break;
		need(errno == EBUSY);
		usleep(1000);
	}

	refused(EALREADY, attach(stream.receiver), "a second time");
	other = dup(stream.receiver);
	refused(EALREADY, attach(other), "a second time, another descriptor");
	close(other);
	refused(EBUSY, sockmap_with(stream.receiver),
		"an attached socket goes into no sockmap");
	refused(EOPNOTSUPP, listen(stream.receiver, 1), "it does not listen");
	refused(EOPNOTSUPP, accept(stream.receiver, NULL, NULL),
		"it does not accept");
	check(!attach(stream.sender), "both ends can be attached");

	close(device);
	stream_send(&stream, 3000);
	check(stream_recv(&stream, 3000), "an attached socket receives as before");
	stream_close(&stream);
}

static int get_int(int fd, void *value, socklen_t len)
{
	return getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY, value, &len);
}

static int set(int fd, const void *value, socklen_t len)
{
	return setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY, value, len);
}

void check_options(void)
{
	struct stream stream = stream_open(SOCK_STREAM);
	struct vsock_zerocopy_stats stats;
	int fd = stream.receiver, value = -1;
	uint64_t wide = 1, window = 0;
	char buffer[64];
	socklen_t len;

	tap_section("options");
	need(!attach(fd));
	check(!get_int(fd, &value, sizeof(value)) && value == 0, "it is off at first");
	refused(EINVAL, set(fd, &wide, 2), "ZEROCOPY of two bytes");
	refused(EINVAL, set(fd, &wide, 8), "ZEROCOPY of eight bytes");
	refused(EINVAL, set(fd, &wide, 0), "ZEROCOPY of no bytes");
	refused(EINVAL, enable(fd, 2), "ZEROCOPY 2");
	refused(EINVAL, enable(fd, -1), "ZEROCOPY -1");
	refused(EFAULT, set(fd, nowhere, sizeof(int)), "ZEROCOPY from nowhere");
	refused(EINVAL, get_int(fd, &value, 2), "ZEROCOPY into two bytes");
	refused(EFAULT, get_int(fd, nowhere, sizeof(int)), "ZEROCOPY to nowhere");
	check(!get_int(fd, &value, sizeof(value)) && value == 0, "it is still off");
	check(!enable(fd, 1) && !get_int(fd, &value, sizeof(value)) && value == 1,
	      "it can be switched on");
	check(!enable(fd, 0) && !get_int(fd, &value, sizeof(value)) && value == 0,
	      "it can be switched off");

	len = sizeof(stats) - 1;
	refused(EINVAL, getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY_STATS,
				   buffer, &len), "statistics into too little");
	len = sizeof(stats);
	refused(EFAULT, getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY_STATS,
				   nowhere, &len), "statistics to nowhere");
	len = sizeof(buffer);
	check(!getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY_STATS, buffer, &len) &&
	      len == sizeof(stats), "statistics into more than enough");
	stats = stats_of(fd);
	check(!stats.calls && !stats.packets && !stats.mapped_bytes &&
	      !stats.copied_bytes, "statistics begin at nothing");
	refused(ENOPROTOOPT, setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY_STATS,
					&stats, sizeof(stats)),
		"statistics cannot be set");
	refused(ENOPROTOOPT, setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_MAP_RX, &wide,
					sizeof(wide)), "MAP_RX cannot be set");

	len = sizeof(window);
	check(!getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &window, &len) &&
	      window == WINDOW, "stock options are read as before");
	window /= 2;
	check(!setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &window, len),
	      "stock options are set as before");
	len = sizeof(window);
	refused(ENOPROTOOPT, getsockopt(fd, AF_VSOCK, 12, &window, &len),
		"there is no option 12");
	stream_close(&stream);
}

static void *map(int fd, size_t len, int protection, off_t offset)
{
	return mmap(NULL, len, protection, MAP_SHARED, fd, offset);
}

static void check_cannot_write(struct map map)
{
	int memory = open("/proc/self/mem", O_RDWR);

	need(memory >= 0);
	refused(EACCES, mprotect(map.at, PAGE, PROT_READ | PROT_WRITE),
		"mprotect does not make it writable");
	refused(EACCES, mprotect(map.at, PAGE, PROT_READ | PROT_EXEC),
		"mprotect does not make it executable");
	refused(EIO, pwrite(memory, "x", 1, (off_t)(uintptr_t)map.at),
		"a debugger cannot write to it");
	refused(EFAULT, mremap(map.at, map.pages * PAGE, (map.pages + 1) * PAGE,
			       MREMAP_MAYMOVE), "it does not grow");
	close(memory);
}

void check_mmap(void)
{
	struct stream stream = stream_open(SOCK_STREAM);
	int fd = stream.receiver;
	struct map good;

	tap_section("mmap");
	refused(ENODEV, map(fd, 2 * PAGE, PROT_READ, 0), "before ATTACH");
	need(!attach(fd));
	refused(EOPNOTSUPP, map(fd, 2 * PAGE, PROT_READ, 0), "before it is enabled");
	need(!enable(fd, 1));
	refused(EPERM, map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, 0), "writable");
	refused(EPERM, map(fd, 2 * PAGE, PROT_WRITE, 0), "writable only");
	refused(EPERM, map(fd, 2 * PAGE, PROT_READ | PROT_EXEC, 0), "executable");
	refused(EINVAL, map(fd, PAGE, PROT_READ, 0), "one page");
	refused(EINVAL, map(fd, 1, PROT_READ, 0), "one byte");
	refused(EINVAL, map(fd, 2 * PAGE, PROT_READ, PAGE), "an offset");

	good = map_open(fd, 2);
	check(fault_at(good.at) == SIGBUS && fault_at(good.at + PAGE) == SIGBUS,
	      "an empty mapping holds nothing to read");
	check_cannot_write(good);
	/* Backed by the very packets: a copy on write would be one by stealth. */
	stream_send(&stream, 32768);
	stream_wait(&stream, 32768);
	need(!map_rx(fd, good.at));
	check_cannot_write(good);
	map_close(good);
	stream_close(&stream);
}

static void check_map_rx_addresses(struct stream *stream, struct map map)
{
	struct stream other = stream_open_zerocopy();
	struct map others = map_open(other.receiver, 4);
	int fd = stream->receiver;
	void *memory = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	need(memory != MAP_FAILED);
	refused(EINVAL, map_rx(fd, NULL), "address 0");
	refused(EINVAL, map_rx(fd, (void *)~0UL), "the last address");
	refused(EINVAL, map_rx(fd, map.at + PAGE), "the second page of a mapping");
	refused(EINVAL, map_rx(fd, map.at + 1), "the second byte of a mapping");
	refused(EINVAL, map_rx(fd, memory), "memory that is no mapping");
	refused(EINVAL, map_rx(fd, others.at), "another socket's mapping");
	map_close(others);
	refused(EINVAL, map_rx(other.receiver, others.at), "what was a mapping");
	need(!munmap(memory, 2 * PAGE));
	stream_close(&other);
}

/* A call that cannot say how it ended must not have received anything. */
static void check_read_only_length(struct stream *stream, struct map map)
{
	unsigned long address = (unsigned long)map.at;
	socklen_t *len = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(len != MAP_FAILED);
	*len = sizeof(address);
	need(!mprotect(len, PAGE, PROT_READ));
	refused(EFAULT, getsockopt(stream->receiver, AF_VSOCK,
				   SO_VM_SOCKETS_MAP_RX, &address, len),
		"a length that cannot be written");
	check(fault_at(map.at) == SIGBUS, "and nothing was mapped");
	need(!munmap(len, PAGE));
}

void check_map_rx(void)
{
	struct stream stream = stream_open_zerocopy();
	int fd = stream.receiver;
	struct map map = map_open(fd, 8);
	struct vsock_zerocopy_stats stats;
	unsigned long address = (unsigned long)map.at;
	socklen_t len = 4;

	tap_section("MAP_RX");
	check_map_rx_addresses(&stream, map);
	refused(EAGAIN, map_rx(fd, map.at), "nothing received");
	check(fault_at(map.at) == SIGBUS, "and nothing mapped");
	stream_send(&stream, 5000);
	stream_wait(&stream, 5000);
	check_map_rx_addresses(&stream, map);
	refused(EINVAL, getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_MAP_RX, &address, &len),
		"half an address");
	len = sizeof(address);
	refused(EFAULT, getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_MAP_RX, nowhere, &len),
		"an address from nowhere");
	refused(EFAULT, getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_MAP_RX, &address,
				   nowhere), "a length from nowhere");
	check_read_only_length(&stream, map);
	need(!enable(fd, 0));
	refused(EOPNOTSUPP, map_rx(fd, map.at), "while it is off");
	need(!enable(fd, 1));
	stats = stats_of(fd);
	check(!stats.calls && !stats.packets, "refusals are not counted");
	check(map_all(&stream, map, 5000), "after all that nothing is lost");

	/* Pages that were not given back. */
	stream_send(&stream, 5000);
	stream_wait(&stream, 5000);
	need(!map_rx(fd, map.at));
	stream_send(&stream, 20000);
	stream_wait(&stream, 20000);
	refused(EBUSY, map_rx(fd, map.at), "the last pages are still there");
	check(map_take(&stream, map).right, "and still hold what they held");
	need(!madvise(map.at, PAGE, MADV_DONTNEED));
	refused(EBUSY, map_rx(fd, map.at), "only the list was given back");
	need(!madvise(map.at, 2 * PAGE, MADV_DONTNEED));
	refused(EBUSY, map_rx(fd, map.at), "one page was not given back");
	map_give_back(map);
	check(map_all(&stream, map, 20000), "given back, and nothing is lost");
	refused(EAGAIN, map_rx(fd, map.at), "nothing is received twice");
	map_close(map);
	stream_close(&stream);
}
