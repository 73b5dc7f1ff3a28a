// SPDX-License-Identifier: GPL-2.0
/*
 * How much received memory user space holds.
 *
 * Received packets are charged to nobody. A page that is mapped as it is stays
 * alive as long as somebody holds it: a mapping, what was moved out of one, a
 * pipe. And a page keeps the whole block of which it is a part, up to 32 KiB.
 * So each attached socket enters the blocks that it hands out, with a reference
 * of its own, and forgets those on which that reference is the last one. Beyond
 * a limit per socket, and one for all sockets of a user, pages are copied
 * instead; copies are charged to the memory cgroup of the caller.
 *
 * The payload of a stream comes in order, so the pages of one block come one
 * after the other, and only the last entry can be the block of the next page.
 * A call that fails while it fills the mapping leaves pages there that are also
 * still queued: their blocks stay entered, or a program could hold them without
 * limit, and any entry can be the block of a page that comes again.
 */

#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "internal.h"

#define PAGES_PER_MIB	(1UL << (20 - PAGE_SHIFT))

static unsigned int socket_mib = 16;
static unsigned int user_mib = 64;

/* One for each user that has attached sockets. */
struct vsock_zc_user {
	struct list_head list;
	kuid_t uid;
	unsigned int sockets;	/* under users_lock */
	atomic_long_t pages;
};

static LIST_HEAD(users);
static DEFINE_MUTEX(users_lock);

static struct vsock_zc_user *known_user(kuid_t uid)
{
	struct vsock_zc_user *user;

	list_for_each_entry(user, &users, list) {
		if (uid_eq(user->uid, uid))
			return user;
	}
	return NULL;
}

static struct vsock_zc_user *user_get(kuid_t uid)
{
	struct vsock_zc_user *user;

	mutex_lock(&users_lock);
	user = known_user(uid);
	if (!user) {
		user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
		if (user) {
			user->uid = uid;
			list_add(&user->list, &users);
		}
	}
	if (user)
		user->sockets++;
	mutex_unlock(&users_lock);
	return user;
}

static void user_put(struct vsock_zc_user *user)
{
	mutex_lock(&users_lock);
	if (!--user->sockets) {
		WARN_ON_ONCE(atomic_long_read(&user->pages));
		list_del(&user->list);
		kfree(user);
	}
	mutex_unlock(&users_lock);
}

int vsock_zc_ledger_init(struct vsock_zc_ledger *ledger, kuid_t uid)
{
	*ledger = (struct vsock_zc_ledger) {
		.limit = READ_ONCE(socket_mib) * PAGES_PER_MIB,
	};
	ledger->blocks = kvmalloc_array(ledger->limit, sizeof(*ledger->blocks),
					GFP_KERNEL_ACCOUNT);
	if (!ledger->blocks)
		return -ENOMEM;
	ledger->user = user_get(uid);
	if (!ledger->user) {
		kvfree(ledger->blocks);
		return -ENOMEM;
	}
	return 0;
}

void vsock_zc_ledger_free(struct vsock_zc_ledger *ledger)
{
	vsock_zc_ledger_cut(ledger, 0);
	user_put(ledger->user);
	kvfree(ledger->blocks);
}

static void forget(struct vsock_zc_ledger *ledger, struct folio *block)
{
	long pages = folio_nr_pages(block);

	ledger->pages -= pages;
	atomic_long_sub(pages, &ledger->user->pages);
	folio_put(block);
}

void vsock_zc_ledger_sweep(struct vsock_zc_ledger *ledger)
{
	unsigned int kept = 0, i;

	for (i = 0; i < ledger->nr; i++) {
		struct folio *block = ledger->blocks[i];

		/* Nobody can take a reference who does not have one. */
		if (folio_ref_count(block) == 1)
			forget(ledger, block);
		else
			ledger->blocks[kept++] = block;
	}
	ledger->nr = kept;
	if (!kept)
		ledger->failed = false;
}

static bool is_entered(const struct vsock_zc_ledger *ledger,
		       const struct folio *block)
{
	unsigned int last = ledger->nr ? ledger->nr - 1 : 0;
	unsigned int i = ledger->failed ? 0 : last;

	for (; i < ledger->nr; i++) {
		if (ledger->blocks[i] == block)
			return true;
	}
	return false;
}

bool vsock_zc_ledger_add(struct vsock_zc_ledger *ledger, struct page *page)
{
	struct folio *block = page_folio(page);
	long pages = folio_nr_pages(block);

	if (is_entered(ledger, block))
		return true;
	if (ledger->pages + pages > ledger->limit)
		return false;
	if (atomic_long_add_return(pages, &ledger->user->pages) >
	    READ_ONCE(user_mib) * PAGES_PER_MIB) {
		atomic_long_sub(pages, &ledger->user->pages);
		return false;
	}
	folio_get(block);
	ledger->pages += pages;
	ledger->blocks[ledger->nr++] = block;
	return true;
}

void vsock_zc_ledger_cut(struct vsock_zc_ledger *ledger, unsigned int nr)
{
	while (ledger->nr > nr)
		forget(ledger, ledger->blocks[--ledger->nr]);
}

void vsock_zc_ledger_keep(struct vsock_zc_ledger *ledger)
{
	if (ledger->nr)
		ledger->failed = true;
}

static int set_mib(const char *text, const struct kernel_param *param)
{
	return param_set_uint_minmax(text, param, 1, 65536);
}

static const struct kernel_param_ops mib_ops = {
	.set = set_mib,
	.get = param_get_uint,
};

module_param_cb(socket_mib, &mib_ops, &socket_mib, 0644);
MODULE_PARM_DESC(socket_mib,
	"MiB of received memory that one socket may hand out without a copy; read when a socket is attached (1-65536, default 16)");
module_param_cb(user_mib, &mib_ops, &user_mib, 0644);
MODULE_PARM_DESC(user_mib,
	"the same for all sockets of a user together (1-65536, default 64)");
