// What is compiled behind every model: cycles, ports by number, and drivers of streams that run beside it.
//
// A cycle: drivers and stimuli set inputs, logic settles, outputs are read, drivers see what was exchanged, clock edge.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Port {
    uint32_t *chunks;  // of the current value
    int n_chunks;

    void set(const uint32_t *from) const { std::memcpy(chunks, from, 4 * n_chunks); }
    void get(uint32_t *to) const { std::memcpy(to, chunks, 4 * n_chunks); }
    bool is_high() const { return chunks[0] & 1; }
    bool equals(const uint32_t *other) const { return !std::memcmp(chunks, other, 4 * n_chunks); }
};

// Whether a side of a stream stalls, by cycle, again and again.
struct Stalls {
    std::vector<uint8_t> pattern;

    bool at(uint64_t cycle) const { return !pattern.empty() && pattern[cycle % pattern.size()]; }
};

struct Driver {
    virtual ~Driver() = default;
    virtual void drive(uint64_t cycle) = 0;
    virtual void observe(uint64_t cycle) = 0;
    std::vector<uint64_t> cycles;  // in which something was exchanged
    int64_t broken = -1;           // the first cycle in which the model broke the contract of streams
};

// Offers payloads one after the other. An offer stands until it is taken.
struct Source : Driver {
    Port payload, valid, ready;
    std::vector<uint32_t> items;
    Stalls stalls;
    size_t n_taken = 0;
    bool is_offered = false;

    void drive(uint64_t cycle) override {
        size_t n_items = payload.n_chunks ? items.size() / payload.n_chunks : 0;
        is_offered = n_taken < n_items && (is_offered || !stalls.at(cycle));
        valid.chunks[0] = is_offered;
        if (is_offered) payload.set(&items[n_taken * payload.n_chunks]);
    }

    void observe(uint64_t cycle) override {
        if (!is_offered || !ready.is_high()) return;
        cycles.push_back(cycle);
        n_taken++;
        is_offered = false;
    }
};

// Takes payloads, and checks that what was offered stays.
struct Sink : Driver {
    Port payload, valid, ready;
    std::vector<uint32_t> items, offered;
    Stalls stalls;

    void drive(uint64_t cycle) override { ready.chunks[0] = !stalls.at(cycle); }

    void observe(uint64_t cycle) override {
        bool has_changed = !offered.empty() && (!valid.is_high() || !payload.equals(offered.data()));
        if (has_changed && broken < 0) broken = cycle;
        offered.clear();
        if (!valid.is_high()) return;
        if (ready.is_high()) {
            cycles.push_back(cycle);
            items.insert(items.end(), payload.chunks, payload.chunks + payload.n_chunks);
        } else {
            offered.assign(payload.chunks, payload.chunks + payload.n_chunks);
        }
    }
};

struct Model {
    cxxrtl_design::p_top top;
    cxxrtl::debug_items items;
    std::vector<Port> ports;
    std::vector<std::unique_ptr<Driver>> drivers;
    Port clock{nullptr, 0};
    uint64_t cycle = 0;

    Model() {
        top.debug_info(&items, nullptr, "");
        int number = port("clk");
        if (number >= 0) clock = ports[number];
    }

    int port(const char *name) {
        auto found = items.table.find(name);
        if (found == items.table.end() || found->second.size() != 1) return -1;
        auto &item = found->second[0];
        ports.push_back({item.curr, (int)(item.width + 31) / 32});
        return ports.size() - 1;
    }

    void settle() { top.step(); }

    void edge() {
        if (!clock.chunks) return;
        clock.chunks[0] = 1;
        top.step();
        clock.chunks[0] = 0;
    }

    void set(int n, const int *numbers, const uint32_t *&from) {
        for (int i = 0; i < n; i++) {
            ports[numbers[i]].set(from);
            from += ports[numbers[i]].n_chunks;
        }
    }

    void get(int n, const int *numbers, uint32_t *&to) {
        for (int i = 0; i < n; i++) {
            ports[numbers[i]].get(to);
            to += ports[numbers[i]].n_chunks;
        }
    }

    void run(int64_t n_cycles, int n_in, const int *in, const uint32_t *from, int n_out, const int *out, uint32_t *to) {
        for (int64_t i = 0; i < n_cycles; i++, cycle++) {
            for (auto &driver : drivers) driver->drive(cycle);
            set(n_in, in, from);
            settle();
            get(n_out, out, to);
            for (auto &driver : drivers) driver->observe(cycle);
            edge();
        }
    }

    int add(std::unique_ptr<Driver> driver) {
        drivers.push_back(std::move(driver));
        return drivers.size() - 1;
    }
};

Stalls stalls(const uint8_t *pattern, int64_t n) { return {std::vector<uint8_t>(pattern, pattern + n)}; }

}  // namespace

extern "C" {

Model *silicut_new() { return new Model; }
void silicut_delete(Model *model) { delete model; }
int silicut_port(Model *model, const char *name) { return model->port(name); }
void silicut_set(Model *model, int port, const uint32_t *from) { model->set(1, &port, from); }

void silicut_get(Model *model, int port, uint32_t *to) {
    model->settle();
    model->get(1, &port, to);
}

void silicut_run(
    Model *model, int64_t n_cycles, int n_in, const int *in, const uint32_t *from, int n_out, const int *out, uint32_t *to
) {
    model->run(n_cycles, n_in, in, from, n_out, out, to);
}

int silicut_source(
    Model *model, const int *ports, const uint32_t *items, int64_t n_chunks, const uint8_t *pattern, int64_t n_pattern
) {
    auto source = std::make_unique<Source>();
    source->payload = model->ports[ports[0]];
    source->valid = model->ports[ports[1]];
    source->ready = model->ports[ports[2]];
    source->items.assign(items, items + n_chunks);
    source->stalls = stalls(pattern, n_pattern);
    return model->add(std::move(source));
}

int silicut_sink(Model *model, const int *ports, const uint8_t *pattern, int64_t n_pattern) {
    auto sink = std::make_unique<Sink>();
    sink->payload = model->ports[ports[0]];
    sink->valid = model->ports[ports[1]];
    sink->ready = model->ports[ports[2]];
    sink->stalls = stalls(pattern, n_pattern);
    return model->add(std::move(sink));
}

int64_t silicut_n_exchanged(Model *model, int driver) { return model->drivers[driver]->cycles.size(); }
int64_t silicut_broken(Model *model, int driver) { return model->drivers[driver]->broken; }

void silicut_cycles(Model *model, int driver, uint64_t *to) {
    auto &cycles = model->drivers[driver]->cycles;
    std::memcpy(to, cycles.data(), 8 * cycles.size());
}

void silicut_taken(Model *model, int driver, uint32_t *to) {
    auto &items = static_cast<Sink &>(*model->drivers[driver]).items;
    std::memcpy(to, items.data(), 4 * items.size());
}

}  // extern "C"
