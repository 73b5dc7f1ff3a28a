/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of vsock_zerocopy share: socket.c makes a socket answer the
 * calls, receive.c moves pages from its queue into a mapping, ledger.c limits
 * what user space holds of them.
 */
#ifndef _VSOCK_ZEROCOPY_INTERNAL_H
#define _VSOCK_ZEROCOPY_INTERNAL_H

#include <linux/net.h>
#include <linux/uidgid.h>
#include <linux/uio.h>
#include <net/af_vsock.h>

#include "vsock_zerocopy.h"

struct vsock_zc_user;

/*
 * The blocks of pages that were mapped as they are and that somebody still
 * holds. Under lock_sock().
 */
struct vsock_zc_ledger {
	struct vsock_zc_user *user;
	struct folio **blocks;	/* a reference is held on each */
	unsigned int nr;
	unsigned long pages;	/* in these blocks */
	unsigned long limit;	/* for pages, so for nr as well */
	bool failed;		/* a call that failed has entered some */
};

/*
 * An attached socket's own state. It lives from the ioctl until the socket is
 * released. A mapping holds the socket's file, so no mapping outlives it.
 */
struct vsock_zc {
	bool enabled;	/* written under lock_sock(), read without */
	struct vsock_zerocopy_stats stats;	/* under lock_sock() */
	struct vsock_zc_ledger ledger;
};

/* The user is the socket's owner. */
int vsock_zc_ledger_init(struct vsock_zc_ledger *ledger, kuid_t uid);
void vsock_zc_ledger_free(struct vsock_zc_ledger *ledger);

/* Forgets the blocks that nobody else holds any more. */
void vsock_zc_ledger_sweep(struct vsock_zc_ledger *ledger);
/* Enters the page's block; false if it would exceed a limit. */
bool vsock_zc_ledger_add(struct vsock_zc_ledger *ledger, struct page *page);
/* Forgets all but the first nr blocks. */
void vsock_zc_ledger_cut(struct vsock_zc_ledger *ledger, unsigned int nr);
/* What was entered stays, although its pages are still queued. */
void vsock_zc_ledger_keep(struct vsock_zc_ledger *ledger);

/* Does its transport keep received packets as the virtio transports do? */
bool vsock_zc_transport_fits(const struct vsock_sock *vsk);

int vsock_zc_map(struct vsock_zc *zc, struct vm_area_struct *vma);

/* The caller holds lock_sock(). */
int vsock_zc_receive(struct vsock_zc *zc, struct vsock_sock *vsk,
		     unsigned long addr);

#endif /* _VSOCK_ZEROCOPY_INTERNAL_H */
