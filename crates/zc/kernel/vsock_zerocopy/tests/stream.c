// SPDX-License-Identifier: GPL-2.0

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "stream.h"
#include "tap.h"

struct route route = {
	.cid = VMADDR_CID_LOCAL,
	.transport = "vsock_loopback",
	.copied = 16384,
};

static uint8_t scratch[(VSOCK_ZEROCOPY_MAX_PAGES + 17) * PAGE];

static void set_window(int fd, uint64_t window)
{
	need(!setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &window,
			 sizeof(window)));
	need(!setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &window,
			 sizeof(window)));
}

struct stream stream_open_window(int type, uint64_t window)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = VMADDR_PORT_ANY,
	};
	socklen_t len = sizeof(address);
	struct sockaddr *any = (struct sockaddr *)&address;
	struct stream stream = {};
	int listener;

	need((listener = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0)) >= 0);
	set_window(listener, window);
	need(!bind(listener, any, sizeof(address)));
	need(!getsockname(listener, any, &len));
	need(!listen(listener, 1));
	address.svm_cid = route.cid;
	/* Not to a guest of this machine's own: 6.12 looks there first. */
	if (!route_is_loopback())
		address.svm_flags = VMADDR_FLAG_TO_HOST;

	need((stream.sender = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0)) >= 0);
	set_window(stream.sender, window);
	need(!connect(stream.sender, any, sizeof(address)));
	need((stream.receiver = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	close(listener);
	return stream;
}

struct stream stream_open(int type)
{
	return stream_open_window(type, WINDOW);
}

struct stream stream_open_zerocopy(void)
{
	struct stream stream = stream_open(SOCK_STREAM);

	need(!attach(stream.receiver));
	need(!enable(stream.receiver, 1));
	return stream;
}

void stream_close(struct stream *stream)
{
	close(stream->sender);
	close(stream->receiver);
}

int attach(int fd)
{
	int device = open(VSOCK_ZEROCOPY_DEVICE, O_RDWR | O_CLOEXEC);
	int result, error;

	need(device >= 0);
	result = ioctl(device, VSOCK_ZEROCOPY_ATTACH, fd);
	error = errno;
	close(device);
	errno = error;
	return result;
}

int enable(int fd, int on)
{
	return setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY, &on, sizeof(on));
}

static uint8_t byte_at(uint64_t offset)
{
	return offset ^ (offset >> 8) * 167 ^ (offset >> 16) * 59;
}

void fill(void *bytes, size_t len, uint64_t offset)
{
	uint8_t *at = bytes;

	while (len--)
		*at++ = byte_at(offset++);
}

bool matches(const void *bytes, size_t len, uint64_t offset)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++) {
		if (at[i] != byte_at(offset + i)) {
			tap_note("byte %llu of the stream is %d, not %d",
				 (unsigned long long)offset + i, at[i],
				 byte_at(offset + i));
			return false;
		}
	}
	return true;
}

void stream_send(struct stream *stream, size_t len)
{
	need(len <= sizeof(scratch));
	fill(scratch, len, stream->sent);
	need(send(stream->sender, scratch, len, MSG_NOSIGNAL) == (ssize_t)len);
	stream->sent += len;
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

void stream_wait(struct stream *stream, size_t len)
{
	int64_t limit = now() + PATIENCE;
	ssize_t queued = 0;

	need(len < sizeof(scratch));
	while (queued < (ssize_t)len) {
		need(now() < limit);
		usleep(1000);
		queued = recv(stream->receiver, scratch, sizeof(scratch),
			      MSG_PEEK | MSG_DONTWAIT);
	}
	need(queued == (ssize_t)len);
}

bool stream_recv(struct stream *stream, size_t len)
{
	bool right = true;

	while (len) {
		size_t most = len < sizeof(scratch) ? len : sizeof(scratch);
		ssize_t got;

		need(ready(stream->receiver, POLLIN, PATIENCE));
		need((got = recv(stream->receiver, scratch, most, 0)) > 0);
		right &= matches(scratch, got, stream->received);
		stream->received += got;
		len -= got;
	}
	return right;
}

struct map map_open(int fd, size_t pages)
{
	struct map map = { .pages = pages };

	map.at = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	need(map.at != MAP_FAILED);
	return map;
}

void map_give_back(struct map map)
{
	need(!madvise(map.at, map.pages * PAGE, MADV_DONTNEED));
}

void map_close(struct map map)
{
	need(!munmap(map.at, map.pages * PAGE));
}

const struct vsock_zerocopy_packet *map_packets(struct map map)
{
	return (const struct vsock_zerocopy_packet *)map.at;
}

int map_rx(int fd, const void *at)
{
	unsigned long address = (unsigned long)at;
	socklen_t len = sizeof(address);

	return getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_MAP_RX, &address, &len);
}

static bool zero(const uint8_t *bytes, size_t len)
{
	while (len && !*bytes)
		bytes++, len--;
	return !len;
}

struct taken map_take(struct stream *stream, struct map map)
{
	const struct vsock_zerocopy_packet *packet = map_packets(map);
	struct taken taken = { .right = true };
	const uint8_t *at = map.at + PAGE;

	for (; packet->len; packet++) {
		size_t whole = (packet->len + PAGE - 1) / PAGE * PAGE;

		need(taken.packets < VSOCK_ZEROCOPY_MAX_PACKETS);
		need(at + whole <= map.at + map.pages * PAGE);
		taken.right &= matches(at, packet->len, stream->received) &&
			       zero(at + packet->len, whole - packet->len);
		taken.packets++;
		taken.bytes += packet->len;
		stream->received += packet->len;
		at += whole;
	}
	return taken;
}

struct taken map_next(struct stream *stream, struct map map)
{
	struct taken taken;

	need(ready(stream->receiver, POLLIN, PATIENCE));
	need(!map_rx(stream->receiver, map.at));
	taken = map_take(stream, map);
	map_give_back(map);
	return taken;
}

bool map_all(struct stream *stream, struct map map, uint64_t len)
{
	uint64_t end = stream->received + len;
	bool right = true;

	while (stream->received < end) {
		struct taken taken = map_next(stream, map);

		right &= taken.right;
		/* The stream ended early. */
		if (!taken.bytes)
			return false;
	}
	return right && stream->received == end;
}

struct vsock_zerocopy_stats stats_of(int fd)
{
	struct vsock_zerocopy_stats stats;
	socklen_t len = sizeof(stats);

	need(!getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_ZEROCOPY_STATS, &stats, &len));
	need(len == sizeof(stats));
	return stats;
}

bool ready(int fd, short events, int limit)
{
	struct pollfd poller = { .fd = fd, .events = events };

	return poll(&poller, 1, limit) == 1 && poller.revents & events;
}

static sigjmp_buf fault;

static void on_fault(int number)
{
	siglongjmp(fault, number);
}

int fault_at(const void *at)
{
	struct sigaction catch = { .sa_handler = on_fault }, bus, segv;
	int number;

	sigaction(SIGBUS, &catch, &bus);
	sigaction(SIGSEGV, &catch, &segv);
	number = sigsetjmp(fault, 1);
	if (!number)
		*(volatile const uint8_t *)at;
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return number;
}

int in_child(int (*run)(void *), void *argument)
{
	int status;
	pid_t child = fork();

	need(child >= 0);
	if (!child) {
		alarm(PATIENCE / 1000);
		_exit(run(argument));
	}
	need(waitpid(child, &status, 0) == child);
	return status;
}
