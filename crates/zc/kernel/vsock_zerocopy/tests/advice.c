// SPDX-License-Identifier: GPL-2.0
/*
 * What else can be asked of the kernel about memory, while pages of the stream
 * are mapped: none of it changes them, and the kernel's log, read at the end, is
 * to have no complaint.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "contract.h"
#include "stream.h"
#include "tap.h"

#define BLOCK		65536
#define GUARD_INSTALL	102	/* MADV_GUARD_INSTALL, since Linux 6.13 */
#define COLLAPSE	25	/* MADV_COLLAPSE */

/* Whatever it answers, the pages stay. Those that give them back are not here. */
static const int advices[] = {
	MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_FREE,
	MADV_REMOVE, MADV_DONTFORK, MADV_MERGEABLE, MADV_UNMERGEABLE,
	MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_WIPEONFORK, MADV_KEEPONFORK,
	MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, COLLAPSE,
};

static bool same(const struct stream *stream, struct map map)
{
	return matches(map.at + PAGE, BLOCK, stream->received - BLOCK);
}

static void check_advices(const struct stream *stream, struct map map)
{
	size_t len = map.pages * PAGE;

	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++) {
		madvise(map.at, len, advices[i]);
		check(same(stream, map), "advice %d leaves them", advices[i]);
	}
	refused(EINVAL, madvise(map.at, len, MADV_DODUMP), "a core dump has none");
	refused(EINVAL, madvise(map.at, len, GUARD_INSTALL),
		"there are no guards between them");
}

/* The kernel tries to have the pages elsewhere, or out of memory. */
static void check_moving(const struct stream *stream, struct map map)
{
	void *pages[] = { map.at + PAGE, map.at + 2 * PAGE };
	int nodes[] = { 0, 0 }, status[2];
	int compact = open("/proc/sys/vm/compact_memory", O_WRONLY);

	syscall(SYS_move_pages, 0, 2UL, pages, nodes, status, 4 /* MPOL_MF_MOVE_ALL */);
	check(same(stream, map), "moving them to a node leaves them");
	if (compact >= 0) {
		need(write(compact, "1", 1) == 1);
		close(compact);
	}
	check(same(stream, map), "compaction leaves them");
	mlock(map.at, map.pages * PAGE);
	msync(map.at, map.pages * PAGE, MS_SYNC | MS_INVALIDATE);
	munlock(map.at, map.pages * PAGE);
	check(same(stream, map), "and so do mlock and msync");
}

static void check_other_processes(const struct stream *stream, struct map map)
{
	static uint8_t copy[BLOCK];
	struct iovec here = { copy, BLOCK }, there = { map.at + PAGE, BLOCK };

	check(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == BLOCK &&
	      matches(copy, BLOCK, stream->received - BLOCK),
	      "another process may read them");
	refused(EFAULT, process_vm_writev(getpid(), &here, 1, &there, 1, 0),
		"but not write to them");
}

static int elsewhere(void *unused)
{
	struct stream stream;
	struct map map;

	(void)unused;
	if (unshare(CLONE_NEWNET))
		return errno == EINVAL ? 0 : 1;
	stream = stream_open_zerocopy();
	map = map_open(stream.receiver, 17);
	stream_send(&stream, BLOCK);
	return !map_all(&stream, map, BLOCK);
}

void check_advice(void)
{
	struct stream stream = stream_open_zerocopy();
	struct map map = map_open(stream.receiver, 17);

	tap_section("other calls");
	stream_send(&stream, BLOCK);
	stream_wait(&stream, BLOCK);
	need(!map_rx(stream.receiver, map.at));
	need(map_take(&stream, map).bytes == BLOCK);
	check_advices(&stream, map);
	check_moving(&stream, map);
	check_other_processes(&stream, map);
	map_give_back(map);
	stream_send(&stream, BLOCK);
	check(map_all(&stream, map, BLOCK), "after all that it receives");
	check(!in_child(elsewhere, NULL), "and in another network namespace");
	map_close(map);
	stream_close(&stream);
}
