// Runs a bench that compares a netlist with the RTL it was made of, for netlist_equivalence.py.
//
// Every cycle each input gets a random value, what differs is noted before the clock edge, and so is which
// bits of the RTL's outputs have been low and high.
#include <cxxrtl/capi/cxxrtl_capi.cc>

#include <cstdint>

extern "C" cxxrtl_toplevel cxxrtl_design_create();

namespace {

struct Random { // splitmix64
	uint64_t state;
	uint64_t operator()() {
		uint64_t z = state += 0x9e3779b97f4a7c15;
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
		z = (z ^ z >> 27) * 0x94d049bb133111eb;
		return z ^ z >> 31;
	}
};

// Often an extreme: nothing, everything, the least and the greatest number with sign.
uint64_t number(Random &random, int64_t width) {
	uint64_t all = width < 64 ? (1ull << width) - 1 : ~0ull, sign = 1ull << (width - 1);
	switch (random() >> 61) {
	case 0: return 0;
	case 1: return all;
	case 2: return sign;
	case 3: return all ^ sign;
	default: return random() & all;
	}
}

void put(uint32_t *words, int64_t at, int64_t width, uint64_t value) {
	for (int64_t bit = 0; bit < width; bit++, at++) {
		uint32_t mask = 1u << at % 32;
		words[at / 32] = value >> bit & 1 ? words[at / 32] | mask : words[at / 32] & ~mask;
	}
}

} // namespace

extern "C" {

// The layouts are repeated in netlist_equivalence.py.
struct Input {
	const char *name;
	int64_t width, unit; // of the port and of each number in it
	int64_t high;        // of 256 cycles, for a port of one bit
};

struct Output {
	const char *name;
	int64_t words;
	uint32_t *low, *high; // results: which bits have been so
};

// Returns 0, or 1 if a port is missing. `first` gets the first cycle in which each bit of `differs` is high.
__attribute__((visibility("default")))
int run(const Input *inputs, int64_t input_count, const Output *outputs, int64_t output_count,
        int64_t *first, int64_t first_count, int64_t cycles, uint64_t seed) {
	cxxrtl_handle design = cxxrtl_create(cxxrtl_design_create());
	auto words = [&](const char *name) {
		size_t parts = 0;
		cxxrtl_object *object = cxxrtl_get_parts(design, name, &parts);
		return object && parts == 1 ? object : nullptr;
	};
	std::vector<uint32_t *> driven, seen;
	for (int64_t index = 0; index < input_count; index++)
		driven.push_back(words(inputs[index].name) ? words(inputs[index].name)->next : nullptr);
	for (int64_t index = 0; index < output_count; index++)
		seen.push_back(words(outputs[index].name) ? words(outputs[index].name)->curr : nullptr);
	cxxrtl_object *clock = words("clk"), *differs = words("differs");
	bool missing = !clock || !differs;
	for (auto *port : driven)
		missing = missing || !port;
	for (auto *port : seen)
		missing = missing || !port;
	if (missing) {
		cxxrtl_destroy(design);
		return 1;
	}
	Random random{seed};
	for (int64_t cycle = 0; cycle < cycles; cycle++) {
		for (int64_t index = 0; index < input_count; index++) {
			const Input &input = inputs[index];
			for (int64_t at = 0; at < input.width; at += input.unit)
				put(driven[index], at, input.unit, input.width == 1 ? (random() & 255) < uint64_t(input.high)
				                                                     : number(random, input.unit));
		}
		clock->next[0] = 0;
		cxxrtl_step(design);
		for (int64_t bit = 0; bit < first_count; bit++)
			if (first[bit] < 0 && differs->curr[bit / 32] >> bit % 32 & 1)
				first[bit] = cycle;
		for (int64_t index = 0; index < output_count; index++)
			for (int64_t word = 0; word < outputs[index].words; word++) {
				outputs[index].high[word] |= seen[index][word];
				outputs[index].low[word] |= ~seen[index][word];
			}
		clock->next[0] = 1;
		cxxrtl_step(design);
	}
	cxxrtl_destroy(design);
	return 0;
}

} // extern "C"
