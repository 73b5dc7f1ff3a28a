// SPDX-License-Identifier: GPL-2.0
/*
 * Processes, descriptors, mappings and the module itself come and go while
 * others stay.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"
#include "stream.h"
#include "tap.h"

#define BLOCK	65536

int load(const char *module)
{
	int fd = open(module, O_RDONLY | O_CLOEXEC);
	int result;

	need(fd >= 0);
	result = syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return result;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "vsock_zerocopy", O_NONBLOCK);
}

/* One block through a mapping, from the write to the last byte. */
static bool works(struct stream *stream, struct map map)
{
	stream_send(stream, BLOCK);
	return map_all(stream, map, BLOCK);
}

void check_mappings(void)
{
	struct stream stream = stream_open_zerocopy();
	int fd = stream.receiver;
	struct map map = map_open(fd, 8), second = map_open(fd, 4), moved;
	uint8_t copy[PAGE];
	int pipes[2];

	tap_section("mappings");
	stream_send(&stream, BLOCK);
	stream_wait(&stream, BLOCK);
	need(!map_rx(fd, map.at));
	need(!map_rx(fd, second.at));
	check(map_take(&stream, map).right && map_take(&stream, second).right,
	      "two mappings of one socket take turns");
	map_give_back(map);
	check(matches(second.at + PAGE, PAGE, stream.received - 3 * PAGE),
	      "giving one back leaves the other");
	map_give_back(second);
	check(map_all(&stream, second, stream.sent - stream.received),
	      "the second takes the rest");

	need(!pipe(pipes));
	stream_send(&stream, BLOCK);
	stream_wait(&stream, BLOCK);
	need(!map_rx(fd, map.at));
	check(write(pipes[1], map.at + PAGE, PAGE) == PAGE &&
	      read(pipes[0], copy, PAGE) == PAGE &&
	      matches(copy, PAGE, stream.received), "the kernel can read it");
	close(pipes[0]);
	close(pipes[1]);
	check(map_take(&stream, map).right, "and so can we");
	map_give_back(map);

	/* Somewhere else, of the same size. */
	moved = map;
	moved.at = mmap(NULL, map.pages * PAGE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(mremap(map.at, map.pages * PAGE, map.pages * PAGE,
		    MREMAP_MAYMOVE | MREMAP_FIXED, moved.at) == moved.at);
	refused(EINVAL, map_rx(fd, map.at), "where a mapping was before it moved");
	check(map_all(&stream, moved, stream.sent - stream.received),
	      "where it moved to");

	stream_send(&stream, BLOCK);
	need(!munmap(moved.at + 4 * PAGE, (moved.pages - 4) * PAGE));
	moved.pages = 4;
	check(map_next(&stream, moved).bytes == 3 * PAGE,
	      "a mapping cut short takes less");
	need(!munmap(moved.at, PAGE));
	refused(EINVAL, map_rx(fd, moved.at), "a mapping without its first page");
	refused(EINVAL, map_rx(fd, moved.at + PAGE), "what is left of it");
	need(!munmap(moved.at + PAGE, 3 * PAGE));
	need(!munmap(second.at + PAGE, 3 * PAGE));
	refused(EINVAL, map_rx(fd, second.at), "a mapping of which one page is left");
	need(!munmap(second.at, PAGE));
	check(stream_recv(&stream, stream.sent - stream.received),
	      "without a mapping recv takes the rest");
	stream_close(&stream);
}

/* Two threads that empty one socket, each into its own mapping. */
struct emptier {
	struct stream *stream;
	struct map map;
	uint64_t bytes;
};

static void *empty(void *argument)
{
	struct emptier *emptier = argument;
	struct map map = emptier->map;

	for (;;) {
		const struct vsock_zerocopy_packet *packet = map_packets(map);

		if (map_rx(emptier->stream->receiver, map.at)) {
			need(errno == EAGAIN);
			need(ready(emptier->stream->receiver, POLLIN, PATIENCE));
			continue;
		}
		if (!packet->len)
			return NULL;
		for (; packet->len; packet++)
			emptier->bytes += packet->len;
		map_give_back(map);
	}
}

static void check_threads(void)
{
	struct stream stream = stream_open_zerocopy();
	struct emptier emptiers[2] = {};
	pthread_t threads[2];

	for (int i = 0; i < 2; i++) {
		emptiers[i].stream = &stream;
		emptiers[i].map = map_open(stream.receiver, 9 + 20 * i);
		need(!pthread_create(&threads[i], NULL, empty, &emptiers[i]));
	}
	for (int i = 0; i < 200; i++)
		stream_send(&stream, BLOCK);
	need(!shutdown(stream.sender, SHUT_WR));
	for (int i = 0; i < 2; i++)
		need(!pthread_join(threads[i], NULL));
	check(emptiers[0].bytes + emptiers[1].bytes == stream.sent,
	      "two threads on one socket receive each byte once");
	for (int i = 0; i < 2; i++)
		map_close(emptiers[i].map);
	stream_close(&stream);
}

void check_two_sockets(void)
{
	struct stream one = stream_open_zerocopy(), two = stream_open_zerocopy();
	struct map map_one = map_open(one.receiver, 9);
	struct map map_two = map_open(two.receiver, 33);
	struct vsock_zerocopy_stats stats;
	bool right = true;

	tap_section("two sockets at once");
	/* Different bytes in each. */
	stream_send(&two, 1000);
	right &= map_all(&two, map_two, 1000);
	for (int i = 0; i < 20; i++) {
		stream_send(&one, BLOCK);
		stream_send(&two, BLOCK);
		right &= map_next(&two, map_two).right;
		right &= map_next(&one, map_one).right;
	}
	right &= map_all(&one, map_one, one.sent - one.received);
	right &= map_all(&two, map_two, two.sent - two.received);
	check(right, "each receives what was sent to it");
	stats = stats_of(one.receiver);
	check(stats.mapped_bytes + stats.copied_bytes == one.received,
	      "each has its own statistics");
	need(!enable(one.receiver, 0));
	refused(EOPNOTSUPP, map_rx(one.receiver, map_one.at), "one is switched off");
	check(works(&two, map_two), "the other goes on");
	map_close(map_one);
	stream_close(&one);
	check(works(&two, map_two), "and when the one is closed");
	map_close(map_two);
	stream_close(&two);
	check_threads();
}

struct shared {
	struct stream *stream;
	struct map map;
};

/* Exit status: how many of these are not as they should be. */
static int use_in_child(void *argument)
{
	struct shared *shared = argument;
	struct stream *stream = shared->stream;
	int wrong = 0;
	struct map map;

	wrong += fault_at(shared->map.at) != SIGSEGV;
	wrong += !(map_rx(stream->receiver, shared->map.at) && errno == EINVAL);
	map = map_open(stream->receiver, 5);
	wrong += !map_next(stream, map).right;
	return wrong;
}

/* Exit status: how many of these are not as they should be. */
static int use_inherited(void *argument)
{
	struct shared *shared = argument;
	int wrong = 0;

	wrong += !matches(shared->map.at + PAGE, 3 * PAGE, 0);
	map_give_back(shared->map);
	wrong += !map_next(shared->stream, shared->map).right;
	return wrong;
}

/* A kernel may let a program undo that children do not inherit a mapping. */
static void check_inherited(void)
{
	struct stream stream = stream_open_zerocopy();
	struct shared shared = { &stream, map_open(stream.receiver, 4) };
	struct map map = shared.map;

	stream_send(&stream, BLOCK);
	stream_wait(&stream, BLOCK);
	need(!map_rx(stream.receiver, map.at));
	need(map_take(&stream, map).right);
	if (madvise(map.at, map.pages * PAGE, MADV_DOFORK)) {
		check(errno == EINVAL, "MADV_DOFORK is refused");
	} else {
		check(in_child(use_inherited, &shared) == 0,
		      "MADV_DOFORK: the child has the pages, and receives the next");
		stream.received += 3 * PAGE;
		check(matches(map.at + PAGE, 3 * PAGE, 0),
		      "MADV_DOFORK: the parent's are as they were");
	}
	map_give_back(map);
	check(map_all(&stream, map, stream.sent - stream.received),
	      "MADV_DOFORK: the parent receives the rest");
	map_close(map);
	stream_close(&stream);
}

void check_fork(void)
{
	struct stream stream = stream_open_zerocopy();
	struct shared shared = { &stream, map_open(stream.receiver, 4) };

	tap_section("fork");
	stream_send(&stream, BLOCK);
	stream_wait(&stream, BLOCK);
	need(!map_rx(stream.receiver, shared.map.at));
	check(map_take(&stream, shared.map).right, "before");
	check(in_child(use_in_child, &shared) == 0,
	      "a child has no mapping, makes its own, and receives the next bytes");
	stream.received += 4 * PAGE;
	check(matches(shared.map.at + PAGE, 3 * PAGE, 0), "the parent's is as it was");
	map_give_back(shared.map);
	check(map_all(&stream, shared.map, stream.sent - stream.received),
	      "and receives what the child left");
	map_close(shared.map);
	stream_close(&stream);
	check_inherited();
}

void check_close(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 17);

	tap_section("close with pages mapped");
	stream_send(&stream, BLOCK);
	stream_wait(&stream, BLOCK);
	need(!map_rx(stream.receiver, map.at));
	close(stream.receiver);
	check(map_take(&stream, map).right, "the pages are still there");
	check(!ready(stream.sender, POLLIN | POLLHUP, 200),
	      "a mapping keeps the connection");
	/* Both in the queue and in the mapping when the last of it goes. */
	stream_send(&stream, BLOCK);
	map_close(map);
	check(ready(stream.sender, POLLIN | POLLHUP, PATIENCE),
	      "without it the connection ends");
	close(stream.sender);

	stream = stream_open_zerocopy();
	map = map_open(stream.receiver, 17);
	stream_send(&stream, BLOCK);
	stream_wait(&stream, BLOCK);
	need(!map_rx(stream.receiver, map.at));
	need(!shutdown(stream.receiver, SHUT_RDWR));
	close(stream.receiver);
	check(ready(stream.sender, POLLIN | POLLHUP, PATIENCE),
	      "shutdown ends the connection in spite of it");
	check(map_take(&stream, map).right, "and the pages are still there");
	close(stream.sender);
	check(map_take(&(struct stream){}, map).right, "also when the sender is gone");
	map_close(map);
}

/* Receives into mappings of its own until it is killed. */
static int receive_until_killed(void *argument)
{
	struct stream *stream = argument;
	struct map map = map_open(stream->receiver, 17);

	close(stream->sender);
	need(ready(stream->receiver, POLLIN, PATIENCE));
	need(!map_rx(stream->receiver, map.at));
	if (map_take(stream, map).right)
		raise(SIGKILL);
	return 1;
}

void check_kill(void)
{
	struct stream stream;
	int status;

	tap_section("kill with pages mapped");
	for (int i = 0; i < 3; i++) {
		stream = stream_open_zerocopy();
		stream_send(&stream, BLOCK);
		stream_send(&stream, BLOCK);
		status = in_child(receive_until_killed, &stream);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		      "killed with pages mapped and others queued");
		close(stream.receiver);
		check(ready(stream.sender, POLLIN | POLLHUP, PATIENCE),
		      "the connection ends");
		close(stream.sender);
	}
}

/* Blocks with whole pages, a last page that is copied, and a list. */
static void pass_blocks(struct stream *stream, struct map map, int blocks)
{
	while (blocks--) {
		stream_send(stream, 50000);
		need(map_all(stream, map, 50000));
	}
}

/* Bytes that are not free any more; pages that a processor keeps are drained. */
static int64_t lost_by(struct stream *stream, struct map map, int blocks)
{
	int compact = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
	struct sysinfo before, after;

	need(!sysinfo(&before));
	pass_blocks(stream, map, blocks);
	if (compact >= 0) {
		(void)!write(compact, "1", 1);
		close(compact);
	}
	need(!sysinfo(&after));
	return ((int64_t)before.freeram - (int64_t)after.freeram) *
	       before.mem_unit;
}

void check_memory(void)
{
	const int blocks = 4096;
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 17);
	int64_t most = blocks * (int64_t)PAGE / 2, lost;
	int tries = 0;

	tap_section("memory");
	pass_blocks(&stream, map, 256);
	/* The kernel's own caches grow once; what is not freed is lost each time. */
	do {
		lost = lost_by(&stream, map, blocks);
	} while (lost >= most && ++tries < 3);
	if (!check(lost < most, "pages given back are freed"))
		tap_note("%lld bytes less are free after %d blocks",
			 (long long)lost, blocks);
	map_close(map);
	stream_close(&stream);
}

int references(const char *module)
{
	FILE *modules = fopen("/proc/modules", "r");
	int found = -1, number;
	char name[64];

	need(modules);
	while (fscanf(modules, "%63s %*s %d%*[^\n]", name, &number) == 2) {
		if (!strcmp(name, module))
			found = number;
	}
	fclose(modules);
	return found;
}

void check_references(const char *module, int before)
{
	int tries = PATIENCE;

	/* A transport keeps a closed connection for a while. */
	while (references(module) != before && --tries)
		usleep(1000);
	if (!check(tries, "nothing is left that needs %s", module))
		tap_note("%d references instead of %d", references(module), before);
}

/* Takes the device from its driver, or gives it back. */
static void drive(const char *device, const char *action)
{
	char path[64];
	int file;

	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/%s/%s",
		 route.transport, action);
	need((file = open(path, O_WRONLY | O_CLOEXEC)) >= 0);
	need(write(file, device, strlen(device)) == (ssize_t)strlen(device));
	close(file);
}

void check_lost_device(const char *device)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 5);

	tap_section("a device that goes away");
	stream_send(&stream, BLOCK);
	stream_wait(&stream, BLOCK);
	need(!map_rx(stream.receiver, map.at));
	drive(device, "unbind");
	check(map_take(&stream, map).right, "what was mapped stays");
	check(ready(stream.receiver, POLLERR | POLLHUP, PATIENCE), "poll says so");
	map_give_back(map);
	refused(ENOTCONN, map_rx(stream.receiver, map.at),
		"what is queued without a connection");
	check(fault_at(map.at) == SIGBUS, "and nothing was mapped");
	drive(device, "bind");
	refused(ENOTCONN, map_rx(stream.receiver, map.at),
		"the old connection when the device is back");
	map_close(map);
	stream_close(&stream);

	stream = stream_open_zerocopy();
	map = map_open(stream.receiver, 17);
	check(works(&stream, map), "and a new connection works");
	map_close(map);
	stream_close(&stream);
}

void check_unload(const char *module)
{
	struct stream stream, plain = stream_open(SOCK_STREAM);
	int device = open(VSOCK_ZEROCOPY_DEVICE, O_RDWR | O_CLOEXEC);
	struct map map;

	tap_section("unloading");
	need(device >= 0);
	refused(EAGAIN, unload(), "not while the device is open");
	close(device);
	stream = stream_open(SOCK_STREAM);
	need(!attach(stream.receiver));
	refused(EAGAIN, unload(), "not while a socket is attached");
	need(!enable(stream.receiver, 1));
	map = map_open(stream.receiver, 17);
	close(stream.receiver);
	refused(EAGAIN, unload(), "not while it is closed, but mapped");
	map_close(map);
	close(stream.sender);
	check(!unload(), "when all are gone");
	check(access(VSOCK_ZEROCOPY_DEVICE, F_OK) && errno == ENOENT,
	      "the device goes too");
	stream_send(&plain, BLOCK);
	check(stream_recv(&plain, BLOCK), "other sockets are as before");

	check(!load(module), "it can be loaded again");
	need(!attach(plain.receiver) && !enable(plain.receiver, 1));
	map = map_open(plain.receiver, 17);
	check(works(&plain, map), "and a socket made before can be attached");
	map_close(map);
	stream_close(&plain);
	check(!unload(), "and unloaded again");
}
