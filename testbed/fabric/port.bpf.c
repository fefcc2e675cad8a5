// SPDX-License-Identifier: Apache-2.0
//
// The switch port: what a Clos switch does to a frame at one of its egress ports, as a
// tc program on the clsact egress hook of the port's interface. One program serves every
// port; the interface index is the port's slot in the maps.
//
// A frame is seen twice. The first time it is judged: injected faults, then two virtual
// queues (control before data) that drain at the port's rate and decide whether the frame
// is passed, marked CE, trimmed or dropped. A frame that passes is sent on as a clone,
// because a clone is charged to no socket: Open vSwitch sends the frames of all ports
// through one socket, and frames waiting here would otherwise use up its buffer. The
// clone comes round with the mark, loses it, and goes to the HTB qdisc, which holds it
// for as long as the virtual queue says. (The mark must go: inside a namespace it
// survives forwarding, and the next port would take the frame for its own clone.)
//
// Drops return TC_ACT_STOLEN, which frees the frame and tells the sender it was sent, as
// a wire would; TC_ACT_SHOT surfaces as ENOBUFS in the sender.
//
// Conservation holds at every instant the lock is free, in frames and in bytes:
//     offered.frames = passed_control.frames + passed_data.frames + sum of dropped_*.frames
//     offered.bytes  = passed_control.bytes  + passed_data.bytes  + sum of dropped_*.bytes
//                      + trimmed.bytes (the bytes cut off)
// because a frame is booked once, when it is judged, and a frame the kernel then refuses
// is re-booked as dropped_redirect. Noise is not offered traffic and is counted apart.
//
// The constants in capitals that are not defined here (PORT_MARK, CLASS_*, DSCP_*,
// TRIMMED_FRAME_BYTES) come from testbed/fabric/bpf.py, which compiles this file.

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef PORT_MARK
#error "compile through testbed/fabric/bpf.py, which passes the shared constants"
#endif

#define DEFAULT_SLOTS 8192
#define MAX_EV_FAULTS 4096
#define ETH_P_IPV6 0x86dd
#define NEXT_HEADER_IPV6 41
#define NEXT_HEADER_UDP 17
#define ECN_CE 3

// Queue depths are kept in billionths of a byte, so that draining (bytes per second times
// nanoseconds) is exact. 64 bits hold 18 GB of queue.
#define UNITS_PER_BYTE 1000000000ULL

// ---------------------------------------------------------------- frame layout

struct ipv6 {
	__be32 version_class_label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u8 source[16];
	__u8 destination[16];
} __attribute__((packed, aligned(2)));

struct headers {
	__u8 mac[12];
	__be16 ethertype;
	struct ipv6 outer;
	struct ipv6 inner;
	__be16 udp_source;
	__be16 udp_destination;
	__be16 udp_length;
	__be16 udp_checksum; // 0: MRC frames carry none, so cutting leaves nothing to repair
} __attribute__((packed, aligned(2)));

#define INNER_OFFSET (14 + sizeof(struct ipv6))
#define UDP_OFFSET (INNER_OFFSET + sizeof(struct ipv6))

// ---------------------------------------------------------------- maps

enum config_flag {
	FACES_HOST = 1, // a trimmed frame is labelled "trimmed at the last hop"
	BLACKHOLE = 2,
	HAS_EV_FAULTS = 4, // ev_faults holds at least one entry for this slot
};

// Written by user space only. A frame that arrives during a write may see some fields
// old and some new, each of them whole.
struct port_config {
	__u64 drain_bytes_per_s; // 0: unshaped, no queue model and no clone
	__u64 seed;
	__u64 loss;    // probability times 2^32; 2^32 is certain
	__u64 corrupt; // likewise
	__u32 epoch;   // a changed epoch restarts the random sequence
	__u32 flags;
	__u32 ecn_min_bytes;
	__u32 ecn_max_bytes; // 0: never mark
	__u32 trim_bytes;    // 0: never trim
	__u32 drop_bytes;
	__u32 control_bytes;
	__u32 reserved;
};

struct tally {
	__u64 frames;
	__u64 bytes; // lengths with the Ethernet header
};

enum account {
	OFFERED,
	PASSED_CONTROL,
	PASSED_DATA,
	MARKED,
	TRIMMED, // bytes: those cut off
	CORRUPTED,
	DROPPED_TAIL,
	DROPPED_CONTROL,
	DROPPED_BLACKHOLE,
	DROPPED_LOSS,
	DROPPED_EV,
	DROPPED_REDIRECT, // the kernel refused to change, clone or queue the frame
	NOISE,
	ACCOUNTS,
};

// Written by this program only.
struct port_state {
	struct bpf_spin_lock lock;
	__u32 epoch;
	__u64 drained_until_ns; // CLOCK_MONOTONIC
	__u64 control_units;
	__u64 data_units;
	__u64 control_max_bytes;
	__u64 data_max_bytes;
	__u64 draws; // frames judged since the epoch began
	struct tally tallies[ACCOUNTS];
};

struct ev_key {
	__u32 slot;
	__u32 ev;
	__u8 source[16];
	__u8 destination[16];
};

struct ev_fault {
	__u64 probability; // times 2^32, as in port_config
	__u64 seed;
	__u64 seen;
	__u64 dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DEFAULT_SLOTS);
	__type(key, __u32);
	__type(value, struct port_config);
} port_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DEFAULT_SLOTS);
	__type(key, __u32);
	__type(value, struct port_state);
} port_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_EV_FAULTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ev_key);
	__type(value, struct ev_fault);
} ev_faults SEC(".maps");

// ---------------------------------------------------------------- randomness

// The index-th value of a splitmix64 sequence (Steele, Lea, Flood, "Fast splittable
// pseudorandom number generators", 2014). Random by position rather than by state: the
// n-th frame of a port meets the same fate whatever the timing, and a test can foretell it.
static __always_inline __u64 random_at(__u64 seed, __u64 index)
{
	__u64 z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

#define EV_STREAMS (1ULL << 63) // keeps EV sequences apart from port sequences

static __always_inline __u64 upper(__u64 value)
{
	return value >> 32;
}

static __always_inline __u64 lower(__u64 value)
{
	return value & 0xffffffff;
}

// ---------------------------------------------------------------- reading a frame

struct frame {
	__u32 slot;
	__u32 bytes;
	bool is_control;
	bool is_trimmable;
	bool is_ecn_capable;
};

static __always_inline struct headers *headers_of(struct __sk_buff *skb)
{
	struct headers *headers = (void *)(long)skb->data;

	if ((void *)(headers + 1) > (void *)(long)skb->data_end)
		return NULL;
	return headers;
}

static __always_inline bool is_srv6(const struct headers *headers)
{
	return headers->ethertype == bpf_htons(ETH_P_IPV6) &&
	       headers->outer.next_header == NEXT_HEADER_IPV6;
}

static __always_inline __u8 dscp_of(const struct ipv6 *header)
{
	return (bpf_ntohl(header->version_class_label) >> 22) & 0x3f;
}

static __always_inline __u8 ecn_of(const struct ipv6 *header)
{
	return (bpf_ntohl(header->version_class_label) >> 20) & 3;
}

static __always_inline struct frame describe(struct __sk_buff *skb,
					     const struct headers *headers)
{
	__u8 dscp = dscp_of(&headers->outer);
	struct frame frame = {
		.slot = skb->ifindex,
		.bytes = skb->len,
		.is_control = dscp == DSCP_CONTROL || dscp == DSCP_TRIMMED ||
			      dscp == DSCP_TRIMMED_LASTHOP,
		.is_trimmable = (dscp == DSCP_TRIMMABLE || dscp == DSCP_TRIMMABLE_RETX) &&
				skb->len > TRIMMED_FRAME_BYTES,
		.is_ecn_capable = ecn_of(&headers->outer) != 0,
	};
	return frame;
}

// ---------------------------------------------------------------- faults of one EV

// EV bits 31..16 travel in the UDP source port, bits 15..0 in the flow label (facts 1.3).
static __always_inline __u32 ev_of(const struct headers *headers)
{
	__u32 label = bpf_ntohl(headers->inner.version_class_label);

	return (__u32)bpf_ntohs(headers->udp_source) << 16 | (label & 0xffff);
}

static __always_inline bool ev_fault_hits(const struct headers *headers, __u32 slot)
{
	struct ev_key key = {.slot = slot, .ev = ev_of(headers)};
	struct ev_fault *fault;
	__u64 stream, index;

	if (headers->inner.next_header != NEXT_HEADER_UDP)
		return false;
	__builtin_memcpy(key.source, headers->inner.source, sizeof(key.source));
	__builtin_memcpy(key.destination, headers->inner.destination, sizeof(key.destination));
	fault = bpf_map_lookup_elem(&ev_faults, &key);
	if (!fault)
		return false;
	index = __sync_fetch_and_add(&fault->seen, 1);
	stream = random_at(fault->seed, EV_STREAMS | (__u64)key.ev << 32 | slot);
	if (upper(random_at(stream, index)) >= fault->probability)
		return false;
	__sync_fetch_and_add(&fault->dropped, 1);
	return true;
}

// ---------------------------------------------------------------- judging (under the lock)

struct verdict {
	__u32 account; // PASSED_* or DROPPED_*
	bool is_marked;
	bool is_trimmed;
	bool is_corrupted;
	__u64 flip; // 32 random bits that choose the bit to flip
};

static __always_inline void tally(struct port_state *state, __u32 account, __s64 sign,
				  __u32 bytes)
{
	if (account >= ACCOUNTS) // for the verifier
		return;
	state->tallies[account].frames += sign;
	state->tallies[account].bytes += sign * bytes;
}

// Enter (sign 1) or take back (sign -1) everything one judged frame counts for.
static __always_inline void book(struct port_state *state, struct verdict verdict,
				 __u32 bytes, __s64 sign)
{
	__u32 left = verdict.is_trimmed ? TRIMMED_FRAME_BYTES : bytes;

	tally(state, verdict.account, sign, left);
	if (verdict.is_marked)
		tally(state, MARKED, sign, left);
	if (verdict.is_trimmed)
		tally(state, TRIMMED, sign, bytes - left);
	if (verdict.is_corrupted)
		tally(state, CORRUPTED, sign, left);
}

// What the port has sent since the last frame, control strictly first.
static __always_inline void drain(struct port_state *state, __u64 bytes_per_s, __u64 now_ns)
{
	__u64 longest_ns = ~0ULL / bytes_per_s; // beyond it the product overflows
	__u64 elapsed_ns, budget, control;

	if (now_ns <= state->drained_until_ns) // another CPU read its clock later
		return;
	elapsed_ns = now_ns - state->drained_until_ns;
	state->drained_until_ns = now_ns;
	budget = bytes_per_s * (elapsed_ns < longest_ns ? elapsed_ns : longest_ns);
	control = budget < state->control_units ? budget : state->control_units;
	state->control_units -= control;
	budget -= control;
	state->data_units -= budget < state->data_units ? budget : state->data_units;
}

static __always_inline bool is_at(__u64 units, __u32 depth_bytes)
{
	return units >= depth_bytes * UNITS_PER_BYTE;
}

// Depths are those an arriving frame finds, itself not included.
static __always_inline __u32 queue_control(struct port_state *state, __u32 bytes,
					   __u32 limit_bytes)
{
	__u64 depth_bytes;

	if (is_at(state->control_units, limit_bytes))
		return DROPPED_CONTROL;
	state->control_units += bytes * UNITS_PER_BYTE;
	depth_bytes = state->control_units / UNITS_PER_BYTE;
	if (depth_bytes > state->control_max_bytes)
		state->control_max_bytes = depth_bytes;
	return PASSED_CONTROL;
}

static __always_inline __u32 queue_data(struct port_state *state, __u32 bytes,
					__u32 limit_bytes)
{
	__u64 depth_bytes;

	if (is_at(state->data_units, limit_bytes))
		return DROPPED_TAIL;
	state->data_units += bytes * UNITS_PER_BYTE;
	depth_bytes = state->data_units / UNITS_PER_BYTE;
	if (depth_bytes > state->data_max_bytes)
		state->data_max_bytes = depth_bytes;
	return PASSED_DATA;
}

// Never at or below the lower depth, linear above it, always from the upper depth on (the
// random share of the span is less than the span).
static __always_inline bool is_to_be_marked(const struct port_config *config,
					    __u64 data_units, __u64 random32)
{
	__u64 depth_bytes = data_units / UNITS_PER_BYTE;
	__u64 span_bytes = config->ecn_max_bytes - config->ecn_min_bytes;

	if (!config->ecn_max_bytes || depth_bytes <= config->ecn_min_bytes)
		return false;
	return upper(random32 * span_bytes) < depth_bytes - config->ecn_min_bytes;
}

static __always_inline void judge_queues(const struct port_config *config,
					 struct port_state *state, const struct frame *frame,
					 __u64 random32, struct verdict *verdict)
{
	if (frame->is_control) {
		verdict->account = queue_control(state, frame->bytes, config->control_bytes);
		return;
	}
	if (frame->is_trimmable && config->trim_bytes &&
	    is_at(state->data_units, config->trim_bytes)) {
		verdict->account = queue_control(state, TRIMMED_FRAME_BYTES,
						 config->control_bytes);
		verdict->is_trimmed = verdict->account == PASSED_CONTROL;
		return;
	}
	verdict->is_marked = frame->is_ecn_capable &&
			     is_to_be_marked(config, state->data_units, random32);
	verdict->account = queue_data(state, frame->bytes, config->drop_bytes);
	if (verdict->account != PASSED_DATA)
		verdict->is_marked = false;
}

// Every offered frame uses two random values, needed or not, so that the fate of the n-th
// frame does not depend on the queue the earlier ones met.
static __always_inline struct verdict judge(const struct port_config *config,
					    struct port_state *state,
					    const struct frame *frame, bool is_ev_hit,
					    __u64 now_ns)
{
	__u64 stream = random_at(config->seed, frame->slot);
	struct verdict verdict = {};
	__u64 first, second;

	if (state->epoch != config->epoch) {
		state->epoch = config->epoch;
		state->draws = 0;
	}
	first = random_at(stream, 2 * state->draws);
	second = random_at(stream, 2 * state->draws + 1);
	state->draws++;

	if (config->flags & BLACKHOLE) {
		verdict.account = DROPPED_BLACKHOLE;
	} else if (is_ev_hit) {
		verdict.account = DROPPED_EV;
	} else if (upper(first) < config->loss) {
		verdict.account = DROPPED_LOSS;
	} else if (!config->drain_bytes_per_s) {
		verdict.account = frame->is_control ? PASSED_CONTROL : PASSED_DATA;
	} else {
		drain(state, config->drain_bytes_per_s, now_ns);
		judge_queues(config, state, frame, lower(first), &verdict);
	}
	// Counted only where it leaves the port: a flipped bit that is cut off or dropped
	// with its frame is no corruption.
	verdict.is_corrupted = verdict.account <= PASSED_DATA && !verdict.is_trimmed &&
			       frame->bytes > TRIMMED_FRAME_BYTES &&
			       upper(second) < config->corrupt;
	verdict.flip = lower(second);
	return verdict;
}

// ---------------------------------------------------------------- changing a frame

static __always_inline void set_dscp(struct ipv6 *header, __u32 dscp)
{
	__u32 word = bpf_ntohl(header->version_class_label);

	header->version_class_label = bpf_htonl((word & ~(0x3fU << 22)) | dscp << 22);
}

static __always_inline bool mark_ce(struct __sk_buff *skb)
{
	struct headers *headers = headers_of(skb);

	if (!headers)
		return false;
	headers->outer.version_class_label |= bpf_htonl(ECN_CE << 20);
	return true;
}

// Lengths in all three headers must agree with what is left: Open vSwitch drops an IPv6
// packet that claims to be longer than its frame. ECN and flow labels stay.
static __always_inline bool trim(struct __sk_buff *skb, bool faces_host)
{
	__u32 dscp = faces_host ? DSCP_TRIMMED_LASTHOP : DSCP_TRIMMED;
	struct headers *headers;

	if (bpf_skb_change_tail(skb, TRIMMED_FRAME_BYTES, 0) ||
	    bpf_skb_pull_data(skb, sizeof(struct headers)))
		return false;
	headers = headers_of(skb);
	if (!headers)
		return false;
	headers->outer.payload_length = bpf_htons(TRIMMED_FRAME_BYTES - INNER_OFFSET);
	headers->inner.payload_length = bpf_htons(TRIMMED_FRAME_BYTES - UDP_OFFSET);
	headers->udp_length = bpf_htons(TRIMMED_FRAME_BYTES - UDP_OFFSET);
	set_dscp(&headers->outer, dscp);
	set_dscp(&headers->inner, dscp);
	return true;
}

// Beyond what a trimmed frame keeps there is only payload and its check sum: the frame
// still finds its way and its queue pair, and the receiver must catch the damage.
static __always_inline bool flip_bit(struct __sk_buff *skb, __u64 random32)
{
	__u64 bit = upper(random32 * (skb->len - TRIMMED_FRAME_BYTES) * 8);
	__u32 offset = TRIMMED_FRAME_BYTES + bit / 8;
	__u8 byte;

	if (bpf_skb_load_bytes(skb, offset, &byte, 1))
		return false;
	byte ^= 1 << (bit % 8);
	return bpf_skb_store_bytes(skb, offset, &byte, 1, 0) == 0;
}

static __always_inline bool apply(struct __sk_buff *skb, struct verdict verdict,
				  bool faces_host)
{
	if (verdict.is_marked && !mark_ce(skb))
		return false;
	if (verdict.is_trimmed && !trim(skb, faces_host))
		return false;
	return !verdict.is_corrupted || flip_bit(skb, verdict.flip);
}

// ---------------------------------------------------------------- the program

static __always_inline int drop_noise(struct __sk_buff *skb, struct port_state *state)
{
	bpf_spin_lock(&state->lock);
	tally(state, NOISE, 1, skb->len);
	bpf_spin_unlock(&state->lock);
	return TC_ACT_STOLEN;
}

static __always_inline int lose(struct port_state *state, struct verdict verdict,
				__u32 bytes)
{
	bpf_spin_lock(&state->lock);
	book(state, verdict, bytes, -1);
	tally(state, DROPPED_REDIRECT, 1, bytes);
	bpf_spin_unlock(&state->lock);
	return TC_ACT_STOLEN;
}

SEC("tc")
int port_egress(struct __sk_buff *skb)
{
	__u32 slot = skb->ifindex;
	__u64 now_ns = bpf_ktime_get_ns();
	struct port_config *config;
	struct port_state *state;
	struct headers *headers;
	struct verdict verdict;
	struct frame frame;
	bool is_ev_hit = false;

	if (skb->mark == PORT_MARK) {
		skb->mark = 0;
		return TC_ACT_OK;
	}
	config = bpf_map_lookup_elem(&port_config, &slot);
	state = bpf_map_lookup_elem(&port_state, &slot);
	if (!config || !state)
		return TC_ACT_SHOT; // attached beyond the maps: be heard, it cannot be counted

	// Frames from packet sockets have next to nothing in their linear part.
	bpf_skb_pull_data(skb, sizeof(struct headers));
	headers = headers_of(skb);
	if (!headers || !is_srv6(headers))
		return drop_noise(skb, state);
	frame = describe(skb, headers);
	if ((config->flags & (HAS_EV_FAULTS | BLACKHOLE)) == HAS_EV_FAULTS)
		is_ev_hit = ev_fault_hits(headers, slot);

	bpf_spin_lock(&state->lock);
	verdict = judge(config, state, &frame, is_ev_hit, now_ns);
	tally(state, OFFERED, 1, frame.bytes);
	book(state, verdict, frame.bytes, 1);
	bpf_spin_unlock(&state->lock);

	if (verdict.account > PASSED_DATA)
		return TC_ACT_STOLEN;
	if (!apply(skb, verdict, config->flags & FACES_HOST))
		return lose(state, verdict, frame.bytes);
	if (!config->drain_bytes_per_s)
		return TC_ACT_OK;
	skb->priority = verdict.account == PASSED_CONTROL ? CLASS_CONTROL : CLASS_DATA;
	skb->mark = PORT_MARK;
	if (bpf_clone_redirect(skb, slot, 0))
		return lose(state, verdict, frame.bytes);
	return TC_ACT_STOLEN;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
