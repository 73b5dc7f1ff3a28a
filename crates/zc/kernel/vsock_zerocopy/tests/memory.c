// SPDX-License-Identifier: GPL-2.0
/*
 * How much received memory a program can hold, and who is charged for it.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contract.h"
#include "stream.h"
#include "tap.h"

#define MIB		(1UL << 20)
#define PARAMETERS	"/sys/module/vsock_zerocopy/parameters/"
#define GROUPS		"/tmp/cgroups"
#define GROUP		GROUPS "/contract"

/* 0, or -1 with errno. */
static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int result, error;

	need(fd >= 0);
	result = write(fd, text, strlen(text)) < 0 ? -1 : 0;
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static long number_in(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	need(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return atol(text);
}

/*
 * Receives blocks of 64 KiB, each into a mapping of its own, of which one page of
 * eight is kept if each keeps the 32 KiB of which it is a part, else all. Puts the
 * mappings into maps.
 */
static void hoard(struct stream *stream, struct map *maps, int blocks)
{
	for (int i = 0; i < blocks; i++) {
		uint8_t *at;

		stream_send(stream, 65536);
		stream_wait(stream, 65536);
		maps[i] = map_open(stream->receiver, 17);
		need(!map_rx(stream->receiver, maps[i].at));
		need(map_take(stream, maps[i]).right);
		if (route.single_pages)
			continue;
		at = maps[i].at;
		need(!munmap(at + 2 * PAGE, 7 * PAGE));
		need(!munmap(at + 10 * PAGE, 7 * PAGE));
	}
}

static void drop(struct map *maps, int blocks)
{
	while (blocks--) {
		need(!munmap(maps[blocks].at, 17 * PAGE));
	}
}

/* What can still be mapped when so much of it is held. */
static uint64_t mapped_of(struct stream *stream, struct map *maps, int blocks)
{
	uint64_t before = stats_of(stream->receiver).mapped_bytes;

	hoard(stream, maps, blocks);
	return stats_of(stream->receiver).mapped_bytes - before;
}

static void check_parameters(void)
{
	check(number_in(PARAMETERS "socket_mib") == 16 &&
	      number_in(PARAMETERS "user_mib") == 64,
	      "16 MiB per socket and 64 per user, if nobody says otherwise");
	refused(EINVAL, put(PARAMETERS "socket_mib", "0"), "no MiB per socket");
	refused(EINVAL, put(PARAMETERS "user_mib", "65537"), "65537 MiB per user");
}

/* A call that fails because its list is not given back, but not its pages. */
static void fail_to_receive(struct stream *stream, struct map map)
{
	need(map_rx(stream->receiver, map.at) && errno == EBUSY);
}

/* The list of an earlier call alone is left in it. */
static struct map map_with_list(struct stream *stream)
{
	struct map map = map_open(stream->receiver, 17);

	stream_send(stream, 100);
	stream_wait(stream, 100);
	need(!map_rx(stream->receiver, map.at) && map_take(stream, map).right);
	need(!madvise(map.at + PAGE, 16 * PAGE, MADV_DONTNEED));
	return map;
}

/*
 * A call that fails may leave pages in the mapping. They are also queued still,
 * and are held when recv() has taken the bytes.
 */
static void check_holding_failed(void)
{
	static struct map maps[48], more[1];
	struct stream stream;

	need(!put(PARAMETERS "socket_mib", "2"));
	stream = stream_open_zerocopy();
	for (int i = 0; i < 48; i++) {
		maps[i] = map_with_list(&stream);
		stream_send(&stream, 65536);
		stream_wait(&stream, 65536);
		for (int tries = 0; tries < 3; tries++) {
			fail_to_receive(&stream, maps[i]);
			need(!madvise(maps[i].at + PAGE, 16 * PAGE,
				      MADV_DONTNEED));
		}
		fail_to_receive(&stream, maps[i]);
		need(stream_recv(&stream, 65536));
	}
	check(mapped_of(&stream, more, 1) == 0,
	      "pages that failed calls have left in mappings count");
	drop(more, 1);
	drop(maps, 48);
	check(mapped_of(&stream, more, 1) == 65536,
	      "and no longer when they are given back");
	drop(more, 1);

	maps[0] = map_with_list(&stream);
	stream_send(&stream, 65536);
	stream_wait(&stream, 65536);
	for (int tries = 0; tries < 100; tries++) {
		fail_to_receive(&stream, maps[0]);
		need(!madvise(maps[0].at + PAGE, 16 * PAGE, MADV_DONTNEED));
	}
	map_give_back(maps[0]);
	need(map_all(&stream, maps[0], 65536));
	check(mapped_of(&stream, more, 1) == 65536,
	      "a page that fails to be received a hundred times counts once");
	drop(more, 1);
	drop(maps, 1);
	stream_close(&stream);
}

void check_holding(void)
{
	static struct map maps[48], others[8];
	struct stream stream, second;

	tap_section("what is held without a charge");
	check_parameters();
	need(!put(PARAMETERS "socket_mib", "2"));
	stream = stream_open_zerocopy();
	check(mapped_of(&stream, maps, 48) == 2 * MIB,
	      "a part of each block kept: 2 of 3 MiB are mapped, the rest copied");
	drop(maps, 48);
	check(mapped_of(&stream, maps, 16) == MIB,
	      "given back, as much can be mapped again");

	/* The socket could hold 2 MiB, and the user has one of them. */
	need(!put(PARAMETERS "user_mib", "1"));
	second = stream_open_zerocopy();
	check(mapped_of(&second, others, 8) == 0,
	      "what one socket holds counts for all of the user's");
	drop(others, 8);
	drop(maps, 16);
	stream_close(&stream);
	check(mapped_of(&second, others, 8) == MIB / 2,
	      "and no longer when it is closed");
	drop(others, 8);
	stream_close(&second);
	need(!put(PARAMETERS "user_mib", "64"));
	check_holding_failed();
	need(!put(PARAMETERS "socket_mib", "16"));
}

/* Copies 4 MiB within a group; exit status: whether it was charged. */
static int copies_are_charged(void *argument)
{
	static struct map maps[64];
	struct stream stream = stream_open_zerocopy();
	long before, after;

	(void)argument;
	need(!put(GROUP "/cgroup.procs", "0"));
	before = number_in(GROUP "/memory.current");
	for (int i = 0; i < 64; i++) {
		for (size_t sent = 0; sent < 65536; sent += route.copied)
			stream_send(&stream, route.copied);
		stream_wait(&stream, 65536);
		maps[i] = map_open(stream.receiver, 33);
		need(!map_rx(stream.receiver, maps[i].at));
	}
	need(stats_of(stream.receiver).copied_bytes == 4 * MIB);
	after = number_in(GROUP "/memory.current");
	/* Counted in batches. */
	if (after - before >= 3L * (long)MIB)
		return 0;
	tap_note("%ld bytes more are charged", after - before);
	return 1;
}

void check_charge(void)
{
	tap_section("the charge of copies");
	need(!mkdir(GROUPS, 0755));
	need(!mount("none", GROUPS, "cgroup2", 0, NULL));
	need(!put(GROUPS "/cgroup.subtree_control", "+memory"));
	need(!mkdir(GROUP, 0755));
	check(in_child(copies_are_charged, NULL) == 0,
	      "copies are charged to the memory cgroup");
	need(!rmdir(GROUP));
	need(!umount(GROUPS));
	need(!rmdir(GROUPS));
}
