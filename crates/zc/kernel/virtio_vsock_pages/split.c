// SPDX-License-Identifier: GPL-2.0
/*
 * A packet of many pieces becomes several packets of one piece each.
 *
 * Some hosts read a header and one piece of a packet, and lose what comes
 * behind. A stream has no packets, so it can be cut anywhere; of a message the
 * last part alone carries the marks of its end.
 */

#include <linux/mm.h>
#include <linux/skbuff_ref.h>
#include <net/sock.h>

#include "pages.h"

unsigned int vvp_pieces(const struct sk_buff *skb)
{
	return 1 + (skb_headlen(skb) ? 1 : 0) + skb_shinfo(skb)->nr_frags;
}

/* An empty packet with the header and the owner of another. */
static struct sk_buff *new_part(struct sk_buff *whole, u32 room, u32 len)
{
	struct sk_buff *part = alloc_skb(HEADER_LEN + room, GFP_ATOMIC);
	struct virtio_vsock_hdr *header;

	if (!part)
		return NULL;
	skb_reserve(part, HEADER_LEN);
	header = virtio_vsock_hdr(part);
	memcpy(header, virtio_vsock_hdr(whole), HEADER_LEN);
	header->len = cpu_to_le32(len);
	/* The whole holds its socket, so there is one to be had. */
	if (whole->sk && !skb_set_owner_sk_safe(part, whole->sk)) {
		kfree_skb(part);
		return NULL;
	}
	return part;
}

static int add_linear(struct sk_buff *skb, struct sk_buff_head *parts)
{
	u32 len = skb_headlen(skb);
	struct sk_buff *part = new_part(skb, len, len);

	if (!part)
		return -ENOMEM;
	skb_put_data(part, skb->data, len);
	__skb_queue_tail(parts, part);
	return 0;
}

static int add_fragment(struct sk_buff *skb, int number,
			struct sk_buff_head *parts)
{
	const skb_frag_t *frag = &skb_shinfo(skb)->frags[number];
	u32 len = skb_frag_size(frag);
	struct sk_buff *part = new_part(skb, 0, len);

	if (!part)
		return -ENOMEM;
	skb_frag_ref(skb, number);
	skb_add_rx_frag(part, 0, skb_frag_page(frag), skb_frag_off(frag), len,
			PAGE_ALIGN(len));
	__skb_queue_tail(parts, part);
	return 0;
}

static void mark_end(struct sk_buff_head *parts)
{
	const __le32 marks = cpu_to_le32(VIRTIO_VSOCK_SEQ_EOM |
					 VIRTIO_VSOCK_SEQ_EOR);
	struct sk_buff *part;

	skb_queue_walk(parts, part) {
		if (!skb_queue_is_last(parts, part))
			virtio_vsock_hdr(part)->flags &= ~marks;
	}
}

int vvp_split_packet(struct sk_buff *skb, struct sk_buff_head *parts)
{
	int err = 0, i;

	if (skb_headlen(skb))
		err = add_linear(skb, parts);
	for (i = 0; i < skb_shinfo(skb)->nr_frags && !err; i++)
		err = add_fragment(skb, i, parts);
	if (err) {
		__skb_queue_purge(parts);
		return err;
	}
	mark_end(parts);
	/* Its bytes are not sent: those of the parts will be. */
	consume_skb(skb);
	return 0;
}
