// SPDX-License-Identifier: GPL-2.0
/*
 * From the receive queue of a vsock stream into a mapping.
 *
 *	rx_queue:  [skb 56 bytes]  [skb 4096 bytes]  [skb 8200 bytes]
 *	               |                |                 |
 *	mapping:  [list][56     ][4096          ][4096][4096][8     ]
 *
 * The queue stays in the hands of the transport. One call walks over it without
 * changing it, puts a page for each page's worth of payload into the mapping,
 * and then lets the transport's own stream_dequeue() discard as many bytes as
 * were mapped. So credit, half-read packets, poll() and the end of stream are
 * the transport's business as ever, and a call that fails on its way has taken
 * nothing.
 *
 * A page goes into the mapping as it is when all of it is the packet's payload
 * and nobody else's. Of everything else a fresh page gets a copy, with zeroes
 * behind it: a reader never sees a byte that was not sent to it.
 */

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/virtio_vsock.h>
#include <net/sock.h>

#include "internal.h"

static_assert((VSOCK_ZEROCOPY_MAX_PACKETS + 1) *
	      sizeof(struct vsock_zerocopy_packet) <= PAGE_SIZE);

/* After so many pages others get the processor, and a signal its way. */
#define PAGES_AT_ONCE	32

/* What one call is about to put into the mapping. */
struct vsock_zc_batch {
	struct vsock_zc_ledger *ledger;
	unsigned int ledger_nr;	/* so many stay if the call fails */
	struct vsock_zerocopy_stats stats;
	struct page *list;
	struct page **pages;	/* a reference is held on each */
	unsigned long nr_pages;
	unsigned long max_pages;
};

/*
 * Nothing to do: no page is ever faulted in, so that a page without payload is
 * SIGBUS, and the address of this struct is how a mapping is recognised.
 */
static const struct vm_operations_struct vsock_zc_vm_ops = {};

int vsock_zc_map(struct vsock_zc *zc, struct vm_area_struct *vma)
{
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EPERM;
	if (vma->vm_pgoff || vma_pages(vma) < 2)
		return -EINVAL;
	if (!READ_ONCE(zc->enabled))
		return -EOPNOTSUPP;

	/* Without VM_MAYWRITE neither mprotect() nor ptrace() can write. */
	vm_flags_mod(vma,
		     VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP,
		     VM_MAYWRITE | VM_MAYEXEC);
	vma->vm_ops = &vsock_zc_vm_ops;
	vma->vm_private_data = zc;
	return 0;
}

/* Returns NULL also for what munmap() left of a mapping, if it is no use. */
static struct vm_area_struct *find_mapping(const struct vsock_zc *zc,
					   unsigned long addr)
{
	struct vm_area_struct *vma = vma_lookup(current->mm, addr);

	if (!vma || vma->vm_ops != &vsock_zc_vm_ops ||
	    vma->vm_private_data != zc || vma->vm_start != addr ||
	    vma->vm_pgoff || vma_pages(vma) < 2)
		return NULL;
	return vma;
}

bool vsock_zc_transport_fits(const struct vsock_sock *vsk)
{
	return vsk->transport->stream_dequeue ==
	       virtio_transport_stream_dequeue;
}

/* Bytes to receive, 0 at the end of stream, or an error: as recv() sees it. */
static s64 bytes_queued(struct vsock_sock *vsk)
{
	struct sock *sk = sk_vsock(vsk);
	s64 queued;

	if (!vsk->transport || sk->sk_state != TCP_ESTABLISHED)
		return sock_flag(sk, SOCK_DONE) ? 0 : -ENOTCONN;
	if (!vsock_zc_transport_fits(vsk))
		return -EOPNOTSUPP;
	if (sk->sk_shutdown & RCV_SHUTDOWN)
		return 0;

	queued = vsock_stream_has_data(vsk);
	if (queued)
		return queued;
	if (sk->sk_err)
		return -sk->sk_err;
	return vsk->peer_shutdown & SEND_SHUTDOWN ? 0 : -EAGAIN;
}

/*
 * The page that holds the PAGE_SIZE bytes of payload from offset on, and
 * nothing else, if there is one that may be shown to user space.
 *
 * Pages of a MSG_ZEROCOPY sender are its own memory, which it may change;
 * shared fragments may change as well; pages of a pool go back there; pages
 * with a mapping are anonymous or in the page cache, pages with a type are the
 * kernel's.
 */
static struct page *payload_page(struct sk_buff *skb, u32 offset)
{
	const struct skb_shared_info *info = skb_shinfo(skb);
	u32 start = skb_headlen(skb);
	int i;

	if (info->flags & SKBFL_ALL_ZEROCOPY || skb->pp_recycle ||
	    skb_has_frag_list(skb) || offset < start)
		return NULL;

	for (i = 0; i < info->nr_frags; i++) {
		const skb_frag_t *frag = &info->frags[i];
		u32 end = start + skb_frag_size(frag);

		if (offset < end) {
			u32 at = skb_frag_off(frag) + offset - start;
			struct page *page = skb_frag_page(frag);
			struct folio *folio;

			if (!page || !PAGE_ALIGNED(at) ||
			    end - offset < PAGE_SIZE)
				return NULL;
			page += at >> PAGE_SHIFT;
			folio = page_folio(page);
			if (folio->mapping || page_has_type(&folio->page))
				return NULL;
			return page;
		}
		start = end;
	}
	return NULL;
}

static struct page *copied_page(struct sk_buff *skb, u32 offset, u32 len)
{
	struct page *page = alloc_page(GFP_KERNEL_ACCOUNT);

	if (!page)
		return NULL;
	/* It fails only if the bytes are not there, which they are. */
	if (WARN_ON_ONCE(skb_copy_bits(skb, offset, page_address(page), len))) {
		__free_page(page);
		return NULL;
	}
	memset(page_address(page) + len, 0, PAGE_SIZE - len);
	return page;
}

/* The socket's lock and that of the memory are held all the time. */
static int pause_if_due(const struct vsock_zc_batch *batch)
{
	if (batch->nr_pages % PAGES_AT_ONCE)
		return 0;
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* Adds what fits of the packet's payload between offset and end. */
static int add_packet(struct vsock_zc_batch *batch, struct sk_buff *skb,
		      u32 offset, u32 end)
{
	struct vsock_zerocopy_packet *packet = page_address(batch->list);

	packet += batch->stats.packets++;
	while (offset < end && batch->nr_pages < batch->max_pages) {
		u32 len = min_t(u32, end - offset, PAGE_SIZE);
		struct page *page = NULL;
		int err = pause_if_due(batch);

		if (err)
			return err;
		if (len == PAGE_SIZE)
			page = payload_page(skb, offset);
		if (page && vsock_zc_ledger_add(batch->ledger, page)) {
			get_page(page);
			batch->stats.mapped_bytes += len;
		} else {
			page = copied_page(skb, offset, len);
			if (!page)
				return -ENOMEM;
			batch->stats.copied_bytes += len;
			packet->flags |= VSOCK_ZEROCOPY_COPIED;
		}
		batch->pages[batch->nr_pages++] = page;
		packet->len += len;
		offset += len;
	}
	if (offset < end)
		packet->flags |= VSOCK_ZEROCOPY_CONTINUES;
	return 0;
}

/*
 * Adds what fits of the queue. lock_sock() keeps all who take packets away;
 * rx_lock is for those who add some, be it to the last packet.
 */
static int add_packets(struct vsock_zc_batch *batch, struct vsock_sock *vsk)
{
	struct virtio_vsock_sock *vvs = vsk->trans;
	struct sk_buff *skb = NULL;
	u32 offset, end;
	int err;

	while (batch->nr_pages < batch->max_pages &&
	       batch->stats.packets < VSOCK_ZEROCOPY_MAX_PACKETS) {
		spin_lock_bh(&vvs->rx_lock);
		skb = skb ? skb_peek_next(skb, &vvs->rx_queue) :
			    skb_peek(&vvs->rx_queue);
		if (skb) {
			offset = VIRTIO_VSOCK_SKB_CB(skb)->offset;
			end = skb->len;
		}
		spin_unlock_bh(&vvs->rx_lock);

		if (!skb)
			break;
		/* One without payload would read as the end of the list. */
		if (offset >= end)
			continue;
		err = add_packet(batch, skb, offset, end);
		if (err)
			return err;
	}
	return 0;
}

static int batch_init(struct vsock_zc_batch *batch,
		      struct vsock_zc_ledger *ledger, unsigned long room,
		      u64 queued)
{
	/* Each packet ends with a page that need not be full. */
	u64 useful = queued / PAGE_SIZE + VSOCK_ZEROCOPY_MAX_PACKETS;

	*batch = (struct vsock_zc_batch) {
		.ledger = ledger,
		.ledger_nr = ledger->nr,
		.max_pages = min3((u64)room, useful,
				  (u64)VSOCK_ZEROCOPY_MAX_PAGES),
		.list = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO),
	};
	if (!batch->list)
		return -ENOMEM;
	batch->pages = kvmalloc_array(batch->max_pages, sizeof(*batch->pages),
				      GFP_KERNEL_ACCOUNT);
	if (!batch->pages) {
		__free_page(batch->list);
		return -ENOMEM;
	}
	return 0;
}

/* A mapping has taken its own references, if it got that far. */
static void batch_free(struct vsock_zc_batch *batch)
{
	while (batch->nr_pages)
		put_page(batch->pages[--batch->nr_pages]);
	kvfree(batch->pages);
	__free_page(batch->list);
}

/*
 * The list comes last: as long as it is not there, nothing claims that the
 * pages behind it have been received. A page that has not been given back is
 * -EBUSY; those before it stay in the mapping, and in the ledger.
 */
static int batch_insert(struct vsock_zc_batch *batch,
			struct vm_area_struct *vma)
{
	unsigned long left = batch->nr_pages;
	int err = 0;

	if (left)
		err = vm_insert_pages(vma, vma->vm_start + PAGE_SIZE,
				      batch->pages, &left);
	if (!err)
		err = vm_insert_page(vma, vma->vm_start, batch->list);
	if (err && left < batch->nr_pages) {
		vsock_zc_ledger_keep(batch->ledger);
		batch->ledger_nr = batch->ledger->nr;
	}
	return err;
}

/* Takes what has been mapped from the queue, and gives the sender credit. */
static void discard(struct vsock_sock *vsk, size_t len)
{
	struct msghdr msg = {};
	ssize_t done;

	iov_iter_discard(&msg.msg_iter, ITER_DEST, len);
	done = vsk->transport->stream_dequeue(vsk, &msg, len, 0);
	WARN_ONCE(done < 0 || done != len,
		  "vsock_zerocopy: %zu bytes mapped, %zd discarded\n",
		  len, done);
}

int vsock_zc_receive(struct vsock_zc *zc, struct vsock_sock *vsk,
		     unsigned long addr)
{
	struct vsock_zc_batch batch;
	struct vm_area_struct *vma;
	s64 queued;
	int err;

	if (!zc->enabled)
		return -EOPNOTSUPP;

	/* The order of the locks is that of recv(): the socket, then memory. */
	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	vma = find_mapping(zc, addr);
	if (!vma) {
		err = -EINVAL;
		goto unlock;
	}
	queued = bytes_queued(vsk);
	if (queued < 0) {
		err = queued;
		goto unlock;
	}

	vsock_zc_ledger_sweep(&zc->ledger);
	err = batch_init(&batch, &zc->ledger, vma_pages(vma) - 1, queued);
	if (err)
		goto unlock;
	if (queued)
		err = add_packets(&batch, vsk);
	if (!err)
		err = batch_insert(&batch, vma);
	mmap_read_unlock(current->mm);

	if (!err && batch.nr_pages) {
		const struct vsock_zerocopy_stats *now = &batch.stats;

		discard(vsk, now->mapped_bytes + now->copied_bytes);
		zc->stats.calls++;
		zc->stats.packets += now->packets;
		zc->stats.mapped_bytes += now->mapped_bytes;
		zc->stats.copied_bytes += now->copied_bytes;
	}
	if (err)
		vsock_zc_ledger_cut(&zc->ledger, batch.ledger_nr);
	batch_free(&batch);
	return err;

unlock:
	mmap_read_unlock(current->mm);
	return err;
}
