// Runs a CXXRTL design whose ports are streams. See beats.py for what happens in a cycle.
//
// The usual two steps per cycle (clock low, clock high) evaluate the design four times or more. Here one
// evaluation with the clock high gives the outputs of the cycle and the registers' next values, from the
// registers' present values, and one commit ends the cycle. Two things make that possible:
//
// - Edges are found by comparing the clock with its previous value in every module. Taking all those clocks
//   low by hand between evaluation and commit makes the next evaluation see another rising edge.
// - Outputs of some modules may reach inputs of others through double-buffered wires, and then one
//   evaluation is not enough. The number of evaluations needed before the edge is guessed, 0 at first. A
//   wrong guess shows: a combinational buffer whose next value differs from its present one. The run then
//   starts again with one more.
#include <cxxrtl/capi/cxxrtl_capi.cc>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

extern "C" cxxrtl_toplevel cxxrtl_design_create();

namespace {

#define EXPORT __attribute__((visibility("default")))

constexpr int MAX_PASSES = 64;
constexpr auto REPORT_EVERY = std::chrono::milliseconds(100);

enum Kind { INPUT, OUTPUT, PROBE };
enum Status { DONE, HANG, STOPPED, NO_PORT, MIXED_WIRE, LOOP, AGAIN };

struct Buffer { uint32_t *curr, *next; size_t chunks; };

struct Design {
	cxxrtl_handle handle = cxxrtl_create(cxxrtl_design_create());
	uint32_t *clock = nullptr;      // at the top
	std::vector<uint32_t *> clocks; // in all modules
	std::vector<Buffer> buffers;
	bool mixed = false;

	Design() { cxxrtl_enum(handle, this, note); }
	~Design() { cxxrtl_destroy(handle); }

	static void note(void *data, const char *path, cxxrtl_object *parts, size_t count) {
		auto design = static_cast<Design *>(data);
		const char *space = strrchr(path, ' ');
		bool is_clock = !strcmp(space ? space + 1 : path, "clk");
		for (cxxrtl_object *part = parts; part != parts + count; part++) {
			if (is_clock && part->type == CXXRTL_VALUE && part->next) {
				design->clocks.push_back(part->next);
				if (!space)
					design->clock = part->next;
			}
			if (part->type == CXXRTL_WIRE && (part->flags & CXXRTL_DRIVEN_COMB)) {
				if (part->flags & CXXRTL_DRIVEN_SYNC)
					design->mixed = true;
				design->buffers.push_back({part->curr, part->next, (part->width + 31) / 32});
			}
		}
	}

	// Evaluate so often with the clock low.
	void settle(int passes) {
		for (int pass = 0; pass < passes; pass++) {
			cxxrtl_eval(handle);
			for (const Buffer &wire : buffers)
				memcpy(wire.curr, wire.next, wire.chunks * 4);
		}
	}

	bool settled() const {
		for (const Buffer &wire : buffers)
			if (memcmp(wire.curr, wire.next, wire.chunks * 4))
				return false;
		return true;
	}

	void rising_edge() {
		*clock = 1;
		cxxrtl_eval(handle);
	}

	void next_cycle() {
		for (uint32_t *low : clocks)
			*low = 0;
		cxxrtl_commit(handle);
	}
};

} // namespace

extern "C" {

// The layout is repeated in compiled.py.
struct Stream {
	const char *name;
	int64_t kind;
	int64_t width;          // of the payload, in bits
	int64_t count;          // beats to send or to wait for
	const uint8_t *beats;   // what to send
	const uint8_t *pattern; // one byte per cycle
	int64_t period;
	// Results, from malloc().
	int64_t seen;
	int64_t *cycle;
	uint8_t *payload;
};

EXPORT int headrace_run(Stream *streams, int64_t count, int64_t deadline, int64_t *cycles, int64_t *passes,
                 int (*report)());
EXPORT void headrace_free(Stream *streams, int64_t count);

} // extern "C"

namespace {

// Up to 32 bits of a port. Outputs come in words of their own, and inverted.
struct Word {
	uint32_t *bits = nullptr, inverted = 0, mask = 0;

	Word() = default;
	Word(const Design &design, const std::string &port, int64_t low, bool driven) {
		size_t parts = 0;
		std::string name = driven ? port : port + "__" + std::to_string(low);
		cxxrtl_object *object = cxxrtl_get_parts(design.handle, name.c_str(), &parts);
		if (!object || parts != 1)
			return;
		size_t width = driven ? object->width - low : object->width;
		mask = width < 32 ? (1u << width) - 1 : ~0u;
		bits = driven ? object->next + low / 32 : object->curr;
		inverted = driven ? 0 : mask;
	}

	uint32_t get() const { return *bits ^ inverted; }
	void set(uint32_t value) { *bits = value & mask; }
};

struct Pins {
	Stream *stream;
	Word valid, ready;
	std::vector<Word> payload;
	int64_t bytes, phase = 0, sent = 0;
	std::vector<int64_t> cycle;
	std::vector<uint8_t> seen;
	bool pending = false;

	Pins(Stream *stream, const Design &design) : stream(stream), bytes((stream->width + 7) / 8) {
		std::string name = stream->name;
		bool input = stream->kind == INPUT, output = stream->kind == OUTPUT;
		valid = Word(design, name + "__valid", 0, input);
		ready = Word(design, name + "__ready", 0, output);
		for (int64_t bit = 0; bit < stream->width; bit += 32)
			payload.emplace_back(design, name + "__payload", bit, input);
	}

	bool found() const {
		for (const Word &word : payload)
			if (!word.bits)
				return false;
		return valid.bits && ready.bits;
	}

	bool willing() {
		bool result = stream->pattern[phase];
		if (++phase == stream->period)
			phase = 0;
		return result;
	}

	void before() {
		if (stream->kind == OUTPUT)
			ready.set(willing());
		if (stream->kind == INPUT) {
			bool starts = willing();
			if (!pending && starts && sent < stream->count) {
				pending = true;
				const uint8_t *beat = stream->beats + sent++ * bytes;
				for (int64_t at = 0; at < bytes; at += 4) {
					uint32_t word = 0;
					memcpy(&word, beat + at, bytes - at < 4 ? bytes - at : 4);
					payload[at / 4].set(word);
				}
			}
			valid.set(pending);
		}
	}

	bool transfer(int64_t now) {
		if (!valid.get() || !ready.get())
			return false;
		pending = false;
		if (stream->kind != PROBE && int64_t(cycle.size()) >= stream->count)
			return true; // an output beyond what was asked for
		cycle.push_back(now);
		size_t end = seen.size();
		seen.resize(end + bytes);
		for (int64_t at = 0; at < bytes; at += 4) {
			uint32_t word = payload[at / 4].get();
			memcpy(&seen[end + at], &word, bytes - at < 4 ? bytes - at : 4);
		}
		return true;
	}

	bool complete() const { return stream->kind == INPUT || int64_t(cycle.size()) >= stream->count; }

	void hand_over() {
		stream->seen = cycle.size();
		stream->cycle = static_cast<int64_t *>(malloc(cycle.size() * sizeof(int64_t) + 1));
		stream->payload = static_cast<uint8_t *>(malloc(seen.size() + 1));
		if (!cycle.empty())
			memcpy(stream->cycle, cycle.data(), cycle.size() * sizeof(int64_t));
		if (!seen.empty())
			memcpy(stream->payload, seen.data(), seen.size());
	}
};

Status attempt(std::vector<Pins> &all, Stream *streams, int64_t count, int64_t deadline, int64_t *cycles,
               int64_t passes, int (*report)()) {
	Design design;
	if (design.mixed)
		return MIXED_WIRE;
	for (Stream *stream = streams; stream != streams + count; stream++) {
		all.emplace_back(stream, design);
		if (!all.back().found()) {
			stream->seen = -1;
			return NO_PORT;
		}
	}
	auto reported = std::chrono::steady_clock::now();
	for (int64_t now = 0, moved = -1;; now++) {
		*cycles = now;
		bool complete = true;
		for (Pins &pins : all) {
			pins.before();
			complete = complete && pins.complete();
		}
		if (complete)
			return DONE;
		if (now - moved > deadline)
			return HANG;
		design.settle(passes);
		design.rising_edge();
		if (!design.settled())
			return AGAIN;
		for (Pins &pins : all)
			if (pins.transfer(now))
				moved = now;
		design.next_cycle();
		if (now % 64 == 0 && std::chrono::steady_clock::now() - reported > REPORT_EVERY) {
			for (Pins &pins : all)
				pins.stream->seen = pins.cycle.size();
			if (report())
				return STOPPED;
			reported = std::chrono::steady_clock::now();
		}
	}
}

} // namespace

EXPORT int headrace_run(Stream *streams, int64_t count, int64_t deadline, int64_t *cycles, int64_t *passes,
                 int (*report)()) {
	for (; *passes < MAX_PASSES; ++*passes) {
		std::vector<Pins> all;
		all.reserve(count);
		Status status = attempt(all, streams, count, deadline, cycles, *passes, report);
		if (status == AGAIN)
			continue;
		if (status != NO_PORT)
			for (Pins &pins : all)
				pins.hand_over();
		return status;
	}
	return LOOP;
}

EXPORT void headrace_free(Stream *streams, int64_t count) {
	for (Stream *stream = streams; stream != streams + count; stream++) {
		free(stream->cycle);
		free(stream->payload);
		stream->cycle = nullptr;
		stream->payload = nullptr;
	}
}
