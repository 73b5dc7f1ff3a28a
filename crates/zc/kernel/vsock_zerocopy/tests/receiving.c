// SPDX-License-Identifier: GPL-2.0
/*
 * What is received through a mapping, and how.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/errqueue.h>
#include <linux/vm_sockets.h>

#include "contract.h"
#include "stream.h"
#include "tap.h"

#define COPIED		VSOCK_ZEROCOPY_COPIED
#define CONTINUES	VSOCK_ZEROCOPY_CONTINUES

static bool is(const struct vsock_zerocopy_packet *packet, uint32_t len,
	       uint32_t flags)
{
	if (packet->len == len && packet->flags == flags)
		return true;
	tap_note("packet of %u bytes with flags %u, not %u with %u", packet->len,
		 packet->flags, len, flags);
	return false;
}

/*
 * Leaves traces in free memory. A kernel that is started with init_on_alloc=0
 * shows them to whoever does not clear a page.
 */
static void leave_traces(void)
{
	const size_t len = 64 << 20;
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(memory != MAP_FAILED);
	memset(memory, 0xee, len);
	need(!munmap(memory, len));
}

void check_layout(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 8);
	const struct vsock_zerocopy_packet *packets = map_packets(map);
	/* Where packets arrive in pages, whole ones are mapped. */
	const uint32_t whole = route.single_pages ? 0 : COPIED;
	const size_t mapped = route.single_pages ? 3 * PAGE : 0;
	struct vsock_zerocopy_stats stats;
	struct taken taken;

	tap_section("layout");
	leave_traces();
	check(!ready(stream.receiver, POLLIN, 0), "poll waits for the first byte");
	stream_send(&stream, 56);
	stream_send(&stream, 4096);
	stream_send(&stream, 8200);
	stream_wait(&stream, 56 + 4096 + 8200);
	check(ready(stream.receiver, POLLIN, 0), "poll says that there is something");
	need(!map_rx(stream.receiver, map.at));
	check(is(&packets[0], 56, COPIED) && is(&packets[1], 4096, whole) &&
	      is(&packets[2], 8200, COPIED) && is(&packets[3], 0, 0),
	      "the list says 56, 4096 and 8200 bytes, and ends");
	check(matches(map.at + PAGE, 56, 0) &&
	      matches(map.at + 2 * PAGE, 4096, 56) &&
	      matches(map.at + 3 * PAGE, 8200, 56 + 4096),
	      "packets begin at pages 1, 2 and 3");
	taken = map_take(&stream, map);
	check(taken.right && taken.packets == 3, "each is followed by zeroes");
	check(!fault_at(map.at + 5 * PAGE) && fault_at(map.at + 6 * PAGE) == SIGBUS,
	      "the page after the last is empty");
	check(!ready(stream.receiver, POLLIN, 0), "poll says that nothing is left");
	stats = stats_of(stream.receiver);
	check(stats.calls == 1 && stats.packets == 3 &&
	      stats.mapped_bytes == mapped &&
	      stats.copied_bytes == 56 + 4096 + 8200 - mapped,
	      "statistics say the same");
	map_give_back(map);
	check(fault_at(map.at) == SIGBUS && fault_at(map.at + PAGE) == SIGBUS,
	      "pages given back are gone");

	/* Two whole packets of the sender's pages, and one with a last page. */
	stream_send(&stream, 50000);
	stream_wait(&stream, 50000);
	map_close(map);
	map = map_open(stream.receiver, 32);
	packets = map_packets(map);
	need(!map_rx(stream.receiver, map.at));
	check(is(&packets[0], 50000, COPIED) && is(&packets[1], 0, 0),
	      "a packet with a copied last page says so");
	check(map_take(&stream, map).right, "and is right");
	stats = stats_of(stream.receiver);
	check(stats.mapped_bytes == mapped + 12 * PAGE &&
	      stats.copied_bytes == 56 + 4096 + 8200 + 50000 - mapped - 12 * PAGE,
	      "only the last page was copied");
	map_close(map);
	stream_close(&stream);
}

/* A mapping that is too small for what is queued. */
static void check_full(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 2);
	const struct vsock_zerocopy_packet *packets = map_packets(map);
	const uint32_t whole = route.single_pages ? 0 : COPIED;
	const struct vsock_zerocopy_packet expected[] = {
		{ 4096, whole | CONTINUES }, { 4096, whole | CONTINUES },
		{ 8, COPIED }, { 4096, CONTINUES }, { 4096, CONTINUES },
	};
	bool right = true, said = true;

	stream_send(&stream, 8200);
	stream_send(&stream, 65536);
	stream_wait(&stream, 8200 + 65536);
	for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
		need(!map_rx(stream.receiver, map.at));
		said &= is(&packets[0], expected[i].len, expected[i].flags) &&
			is(&packets[1], 0, 0);
		right &= map_take(&stream, map).right;
		map_give_back(map);
	}
	check(said, "one page at a time: lengths and flags");
	check(right, "one page at a time: bytes");
	map_close(map);

	map = map_open(stream.receiver, 15);
	packets = map_packets(map);
	need(!map_rx(stream.receiver, map.at));
	check(is(&packets[0], 14 * PAGE, 0) && is(&packets[1], 0, 0),
	      "a packet that ends where the mapping ends does not continue");
	check(map_take(&stream, map).right && stream.received == 8200 + 65536,
	      "and is right");
	map_close(map);
	stream_close(&stream);
}

/* However much is queued and fits, one call has an end. */
static void check_bound(void)
{
	const size_t most = VSOCK_ZEROCOPY_MAX_PAGES * PAGE;
	struct stream stream = stream_open_window(SOCK_STREAM, 4 * most);
	struct map map;
	struct taken taken;

	need(!attach(stream.receiver) && !enable(stream.receiver, 1));
	map = map_open(stream.receiver, 1 + 2 * VSOCK_ZEROCOPY_MAX_PAGES);
	while (stream.sent < most + 65536)
		stream_send(&stream, 65536);
	stream_wait(&stream, most + 65536);
	taken = map_next(&stream, map);
	check(taken.right && taken.bytes == most,
	      "one call receives 2048 pages of a queue that has more");
	check(map_all(&stream, map, stream.sent - stream.received),
	      "the next has the rest");
	map_close(map);
	stream_close(&stream);
}

void check_limits(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 1024);
	struct taken taken;

	tap_section("limits");
	check_full();

	/* More than the transport would join with others. */
	for (int i = 0; i < 600; i++)
		stream_send(&stream, 200);
	stream_wait(&stream, 600 * 200);
	taken = map_next(&stream, map);
	check(taken.right && taken.packets == VSOCK_ZEROCOPY_MAX_PACKETS,
	      "one list has 511 of 600 packets");
	taken = map_next(&stream, map);
	check(taken.right && taken.packets == 89, "the next list has the rest");
	map_close(map);

	/* Room for four times what may be queued. */
	map = map_open(stream.receiver, 4 * WINDOW / PAGE);
	for (uint64_t sent = 0; sent < WINDOW - 65536; sent += 65536)
		stream_send(&stream, 65536);
	stream_wait(&stream, WINDOW - 65536);
	taken = map_next(&stream, map);
	check(taken.right && taken.bytes == WINDOW - 65536,
	      "a large mapping takes a full window at once");
	map_close(map);
	stream_close(&stream);
	check_bound();
}

/* Sends blocks one by one; returns what the statistics say about it. */
static struct vsock_zerocopy_stats shares(size_t block)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 1 + (block + PAGE - 1) / PAGE);
	struct vsock_zerocopy_stats stats;
	bool right = true;

	for (int i = 0; i < 8; i++) {
		stream_send(&stream, block);
		right &= map_all(&stream, map, block);
	}
	check(right, "blocks of %zu: bytes", block);
	stats = stats_of(stream.receiver);
	check(stats.mapped_bytes + stats.copied_bytes == 8 * block,
	      "blocks of %zu: statistics count each byte once", block);
	map_close(map);
	stream_close(&stream);
	return stats;
}

/* Pages that a MSG_ZEROCOPY sender still owns must not be shown to others. */
static void check_sender_pages(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 32);
	uint8_t *block = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct vsock_zerocopy_stats stats;
	char control[128];
	struct msghdr message = {
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int on = 1;

	need(block != MAP_FAILED);
	need(!setsockopt(stream.sender, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)));
	fill(block, 65536, 0);
	need(send(stream.sender, block, 65536, MSG_ZEROCOPY) == 65536);
	check(map_all(&stream, map, 65536), "from a MSG_ZEROCOPY sender: bytes");
	stats = stats_of(stream.receiver);
	/* A device does not pass on the sender's pages. */
	check(stats.copied_bytes == (route_is_loopback() ? 65536 : 0) &&
	      stats.mapped_bytes + stats.copied_bytes == 65536,
	      "from a MSG_ZEROCOPY sender: only the sender's own pages are copied");
	check(ready(stream.sender, POLLERR, PATIENCE) &&
	      !recvmsg(stream.sender, &message, MSG_ERRQUEUE | MSG_DONTWAIT),
	      "a MSG_ZEROCOPY sender gets its completion");
	need(!munmap(block, 65536));
	map_close(map);
	stream_close(&stream);
}

void check_shares(void)
{
	static const size_t whole[] = { 32768, 65536, 131072, 1048576 };
	struct vsock_zerocopy_stats stats;

	tap_section("shares");
	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++) {
		stats = shares(whole[i]);
		check(stats.copied_bytes == 0, "blocks of %zu: all mapped", whole[i]);
	}
	stats = shares(4096);
	check((route.single_pages ? stats.copied_bytes : stats.mapped_bytes) == 0,
	      "blocks of 4096: all %s", route.single_pages ? "mapped" : "copied");
	stats = shares(route.copied);
	check(stats.mapped_bytes == 0, "blocks of %zu: all copied", route.copied);
	stats = shares(100001);
	check(stats.mapped_bytes >= 8 * 16 * PAGE &&
	      stats.copied_bytes >= 8 * (100001 % PAGE),
	      "blocks of 100001: whole pages mapped, the rest copied");
	check_sender_pages();
}

/* Where recv() left a packet decides what of it can still be mapped. */
static void check_after_recv(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 32);
	struct vsock_zerocopy_stats before, after;

	stream_send(&stream, 65536);
	check(stream_recv(&stream, PAGE), "recv of a page");
	check(map_all(&stream, map, 65536 - PAGE), "then mapping");
	before = stats_of(stream.receiver);
	check(before.copied_bytes == 0, "pages that recv left whole are mapped");

	stream_send(&stream, 65536);
	check(stream_recv(&stream, 100), "recv of a hundred bytes");
	check(map_all(&stream, map, 65536 - 100), "then mapping");
	after = stats_of(stream.receiver);
	check(after.mapped_bytes == before.mapped_bytes,
	      "bytes that do not lie on pages any more are copied");

	stream_send(&stream, 65536);
	map_close(map);
	map = map_open(stream.receiver, 4);
	check(map_next(&stream, map).right, "mapping of three pages");
	check(stream_recv(&stream, 65536 - 3 * PAGE), "then recv");
	map_close(map);
	stream_close(&stream);
}

/* A process that writes blocks of all sizes, and ends the stream. */
static pid_t start_writer(struct stream *stream, uint64_t total, size_t most)
{
	pid_t writer = fork();
	size_t len;

	need(writer >= 0);
	if (writer) {
		stream->sent += total;
		close(stream->sender);
		return writer;
	}
	close(stream->receiver);
	srandom(1);
	for (; total; total -= len) {
		len = 1 + random() % most;
		if (len > total)
			len = total;
		stream_send(stream, len);
	}
	_exit(0);
}

static bool ended_well(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

void check_mixed(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map maps[3];
	uint64_t total = 24 << 20;
	bool right = true;
	pid_t writer;

	tap_section("recv and mapping of one stream");
	check_after_recv();

	maps[0] = map_open(stream.receiver, 2);
	maps[1] = map_open(stream.receiver, 17);
	maps[2] = map_open(stream.receiver, 300);
	writer = start_writer(&stream, total, 200000);
	srandom(2);
	while (right && stream.received < total) {
		uint64_t left = total - stream.received;
		size_t some = 1 + random() % 30000;
		long turn = random() % 4;

		if (turn == 3)
			right = stream_recv(&stream, some < left ? some : left);
		else
			right = map_next(&stream, maps[turn]).right;
	}
	check(right && stream.received == total,
	      "24 MiB in blocks and ways of all sizes: bytes");
	check(ended_well(writer), "and the sender wrote them all");
	check(map_next(&stream, maps[0]).bytes == 0, "and then the stream ends");
	for (int i = 0; i < 3; i++)
		map_close(maps[i]);
	stream_close(&stream);
}

static bool at_end(int fd, struct map map)
{
	bool ended;

	if (!ready(fd, POLLIN, PATIENCE) || map_rx(fd, map.at))
		return false;
	ended = is(map_packets(map), 0, 0) && fault_at(map.at + PAGE) == SIGBUS;
	map_give_back(map);
	return ended;
}

void check_end_of_stream(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 64);
	struct vsock_zerocopy_stats stats;

	tap_section("end of stream");
	stream_send(&stream, 70000);
	need(!shutdown(stream.sender, SHUT_WR));
	check(map_all(&stream, map, 70000), "what was sent before is received first");
	check(at_end(stream.receiver, map), "then the list is empty");
	stats = stats_of(stream.receiver);
	check(at_end(stream.receiver, map), "and stays so");
	check(stats_of(stream.receiver).calls == stats.calls,
	      "an end is not counted as a call that received");
	need(!map_rx(stream.receiver, map.at));
	refused(EBUSY, map_rx(stream.receiver, map.at),
		"the empty list has to be given back too");
	map_give_back(map);
	stream.sent = 0;
	need(send(stream.receiver, "x", 1, 0) == 1);
	check(ready(stream.sender, POLLIN, PATIENCE), "the other way is still open");
	map_close(map);
	stream_close(&stream);

	stream = stream_open_zerocopy();
	map = map_open(stream.receiver, 64);
	stream_send(&stream, 70000);
	close(stream.sender);
	check(map_all(&stream, map, 70000), "a sender that closed: bytes");
	check(at_end(stream.receiver, map), "a sender that closed: end");
	map_close(map);
	close(stream.receiver);

	stream = stream_open_zerocopy();
	map = map_open(stream.receiver, 64);
	need(!shutdown(stream.receiver, SHUT_RD));
	check(at_end(stream.receiver, map), "a receiver that shut down: end");
	map_close(map);
	stream_close(&stream);
}

/* Single bytes cost a kernel much more than their length. */
static void check_single_bytes(void)
{
	struct stream stream = stream_open_window(SOCK_STREAM, 256 << 10);
	const uint64_t total = 60000;
	struct map map;
	pid_t writer;

	need(!attach(stream.receiver) && !enable(stream.receiver, 1));
	map = map_open(stream.receiver, 64);
	writer = start_writer(&stream, total, 1);
	check(map_all(&stream, map, total), "60000 writes of one byte: bytes");
	check(ended_well(writer), "60000 writes of one byte: none failed");
	check(at_end(stream.receiver, map), "60000 writes of one byte: end");
	map_close(map);
	stream_close(&stream);
}

/*
 * Writes until the window is full, and a little longer: news of what has been
 * received travel. Returns how much the socket took.
 */
static uint64_t fill_window(struct stream *stream, size_t block, uint64_t window)
{
	static uint8_t bytes[65536];
	uint64_t filled = 0;
	int patience = 0;

	while (patience < (filled < window ? PATIENCE : 20)) {
		ssize_t took;

		fill(bytes, block, stream->sent);
		took = send(stream->sender, bytes, block, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (took < 0) {
			need(errno == EAGAIN);
			usleep(1000);
			patience++;
			continue;
		}
		filled += took;
		stream->sent += took;
	}
	return filled;
}

static void check_full_window(size_t block, uint64_t window)
{
	struct stream stream = stream_open_window(SOCK_STREAM, window);
	bool full = true, right = true;
	struct map map;

	need(!attach(stream.receiver) && !enable(stream.receiver, 1));
	map = map_open(stream.receiver, 17);
	for (int i = 0; i < 4; i++) {
		full &= fill_window(&stream, block, window) == window;
		full &= !ready(stream.sender, POLLOUT, 0);
		right &= map_all(&stream, map, stream.sent - stream.received);
		full &= ready(stream.sender, POLLOUT, PATIENCE);
	}
	check(full, "blocks of %zu: four times a full window, and not a byte more",
	      block);
	check(right, "blocks of %zu: bytes", block);
	map_close(map);
	stream_close(&stream);
}

void check_credit(void)
{
	tap_section("credit");
	check_full_window(65536, 256 << 10);
	check_full_window(1000, 256 << 10);
	check_full_window(1, 32 << 10);
	check_single_bytes();
}
