// Streams and events. What is enqueued waits until something asks for it, unless the pace says otherwise.
#include "driver.h"
#include <time.h>

static double seconds() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static stream* legacy(device_state& device) {
    if (!device.legacy) {
        device.legacy = new stream{&device};
        all().streams.insert(device.legacy);
    }
    return device.legacy;
}

static bool is_legacy(const stream& s) { return s.device->legacy == &s; }
static bool is_blocking(const stream& s) { return !is_legacy(s) && !(s.flags & CU_STREAM_NON_BLOCKING); }

result find_stream(CUstream handle, stream*& found) {
    if ((uintptr_t)handle <= 1) {
        found = legacy(*current);
        return CUDA_SUCCESS;
    }
    REQUIRE(all().streams.count(handle) && handle->alive && !is_legacy(*handle), CUDA_ERROR_INVALID_HANDLE);
    found = handle;
    return CUDA_SUCCESS;
}

static result run(stream& on, work& what) {
    driver& d = all();
    switch (what.what) {
        case work::KERNEL: return run_kernel(what.call);
        case work::COPY: return run_copy(what.copy);
        case work::SET: return run_fill(what.fill);
        case work::HOST: what.host(what.argument); return CUDA_SUCCESS;
        case work::EMPTY: return CUDA_SUCCESS;
        case work::WAIT: return what.place->done ? CUDA_SUCCESS : drain(*what.place->stream, what.place.get());
        case work::RECORD:
            what.place->done = true;
            what.place->time = seconds();
            return CUDA_SUCCESS;
        case work::RELEASE: return release(what.address, what.turn);
        case work::GRAPH:
            d.counters.graph_launches++;
            for (work& node : what.nodes)
                if (result r = run(on, node)) return r;
            return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

result run_one(stream& on) {
    work what = std::move(on.queue.front());
    on.queue.pop_front();
    result& broken = on.device->broken;
    // Nothing runs on a broken device, but nobody waits for ever.
    bool runs = !broken || what.what == work::RECORD || what.what == work::RELEASE;
    if (!runs) return broken;
    result r = run(on, what);
    if (r && !broken) broken = r;
    return broken;
}

result drain(stream& what, const mark* until) {
    while (!what.queue.empty() && !(until && until->done)) run_one(what);
    return what.device->broken;
}

result drain_device(device_state& device) {
    std::vector<stream*> streams(all().streams.begin(), all().streams.end());
    for (stream* s : streams)
        if (s->device == &device) drain(*s);
    return device.broken;
}

void drain_for_nothing() {
    for (auto& device : all().devices) drain_device(*device);
}

std::shared_ptr<mark> mark_end(stream& what) {
    auto place = std::make_shared<mark>(mark{&what});
    work w{work::RECORD};
    w.place = place;
    what.queue.push_back(std::move(w));
    return place;
}

static void wait_for(stream& on, stream& other) {
    if (other.queue.empty() || other.device != on.device) return;
    work w{work::WAIT};
    w.place = mark_end(other);
    on.queue.push_back(std::move(w));
}

static unsigned chance() {
    unsigned& seed = all().pace_seed;
    seed ^= seed << 13;
    seed ^= seed >> 17;
    return seed ^= seed << 5;
}

static void keep_pace(stream& on) {
    if (all().pace == EAGER) drain(on);
    if (all().pace != CHANCE) return;
    std::vector<stream*> streams(all().streams.begin(), all().streams.end());
    for (unsigned steps = chance() % 4; steps; steps--) {
        stream* s = streams[chance() % streams.size()];
        if (!s->queue.empty()) run_one(*s);
    }
}

result enqueue(stream& on, work&& what) {
    if (on.capturing) return record_node(on, std::move(what));
    std::vector<stream*> streams(all().streams.begin(), all().streams.end());
    if (is_legacy(on)) {
        for (stream* s : streams) {
            if (s->device != on.device || !is_blocking(*s)) continue;
            if (s->capturing) {
                invalidate(*s->capturing);
                return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            }
            wait_for(on, *s);
        }
    } else if (is_blocking(on) && on.device->legacy) {
        wait_for(on, *on.device->legacy);
    }
    on.queue.push_back(std::move(what));
    keep_pace(on);
    return CUDA_SUCCESS;
}

static result find_event(CUevent handle) { return all().events.count(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; }

result refuse_captured(stream& on) {
    if (!on.capturing) return CUDA_SUCCESS;
    invalidate(*on.capturing);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

static result refuse_captured(event& what) {
    if (!what.captured) return CUDA_SUCCESS;
    invalidate(*what.captured);
    return CUDA_ERROR_CAPTURED_EVENT;
}

extern "C" {

OUT result cuStreamCreateWithPriority(CUstream* into, unsigned flags, int priority) {
    ENTER(CONTEXT);
    REQUIRE(into && flags <= 1, CUDA_ERROR_INVALID_VALUE);
    *into = new stream{current, flags, priority < -5 ? -5 : priority > 0 ? 0 : priority};
    all().streams.insert(*into);
    return CUDA_SUCCESS;
}

OUT result cuStreamCreate(CUstream* into, unsigned flags) { return cuStreamCreateWithPriority(into, flags, 0); }

// What is enqueued still runs.
OUT result cuStreamDestroy_v2(CUstream handle) {
    ENTER(CONTEXT);
    REQUIRE((uintptr_t)handle > 2, CUDA_ERROR_INVALID_HANDLE);
    STREAM(s, handle);
    if (s->capturing) invalidate(*s->capturing);
    s->alive = false;
    return CUDA_SUCCESS;
}

OUT result cuStreamSynchronize(CUstream handle) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    if (result r = refuse_captured(*s)) return r;
    all().counters.stream_syncs++;
    if (is_legacy(*s)) {
        std::vector<stream*> streams(all().streams.begin(), all().streams.end());
        for (stream* other : streams)
            if (other->device == s->device && is_blocking(*other)) drain(*other);
    }
    result r = drain(*s);
    give_back_unused(*s->device);
    return r;
}

// Each question lets one thing run, so that asking again and again comes to an end.
OUT result cuStreamQuery(CUstream handle) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    if (result r = refuse_captured(*s)) return r;
    if (s->queue.empty()) return s->device->broken;
    run_one(*s);
    return s->device->broken ? s->device->broken : CUDA_ERROR_NOT_READY;
}

OUT result cuStreamGetPriority(CUstream handle, int* into) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    *into = s->priority;
    return CUDA_SUCCESS;
}

OUT result cuStreamGetFlags(CUstream handle, unsigned* into) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    *into = s->flags;
    return CUDA_SUCCESS;
}

OUT result cuStreamGetCtx(CUstream handle, CUcontext* into) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    *into = s->device;
    return CUDA_SUCCESS;
}

OUT result cuStreamWaitEvent(CUstream handle, CUevent what, unsigned) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    if (result r = find_event(what)) return r;
    if (what->captured) {
        capture& c = *what->captured;
        REQUIRE(!c.invalid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        if (s->capturing && s->capturing != &c) {
            invalidate(*s->capturing);
            invalidate(c);
            return CUDA_ERROR_STREAM_CAPTURE_MERGE;
        }
        s->capturing = &c;
        c.streams.insert(s);
        s->after.insert(s->after.end(), what->at.begin(), what->at.end());
        return CUDA_SUCCESS;
    }
    if (!what->last) return CUDA_SUCCESS;
    if (s->capturing) {
        invalidate(*s->capturing);
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    work w{work::WAIT};
    w.place = what->last;
    return enqueue(*s, std::move(w));
}

OUT result cuLaunchHostFunc(CUstream handle, CUhostFn function, void* argument) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    work w{work::HOST};
    w.host = function;
    w.argument = argument;
    return enqueue(*s, std::move(w));
}

OUT result cuCtxSynchronize() {
    ENTER(CONTEXT);
    for (capture* c : all().captures) {
        if (c->origin->device != current) continue;
        invalidate(*c);
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    all().counters.context_syncs++;
    result r = drain_device(*current);
    give_back_unused(*current);
    return r;
}

OUT result cuEventCreate(CUevent* into, unsigned flags) {
    ENTER(CONTEXT);
    REQUIRE(into, CUDA_ERROR_INVALID_VALUE);
    *into = new event{current, flags};
    all().events.insert(*into);
    return CUDA_SUCCESS;
}

OUT result cuEventDestroy_v2(CUevent what) {
    ENTER(CONTEXT);
    if (result r = find_event(what)) return r;
    all().events.erase(what);
    delete what;
    return CUDA_SUCCESS;
}

OUT result cuEventRecord(CUevent what, CUstream handle) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    if (result r = find_event(what)) return r;
    if (s->capturing) {
        REQUIRE(!s->capturing->invalid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        what->captured = s->capturing;
        what->at = s->after;
        return CUDA_SUCCESS;
    }
    what->captured = nullptr;
    what->last = std::make_shared<mark>(mark{s});
    work w{work::RECORD};
    w.place = what->last;
    return enqueue(*s, std::move(w));
}

OUT result cuEventRecordWithFlags(CUevent what, CUstream handle, unsigned) { return cuEventRecord(what, handle); }

// Each question lets one thing run, so that asking again and again comes to an end.
OUT result cuEventQuery(CUevent what) {
    ENTER(CONTEXT);
    if (result r = find_event(what)) return r;
    if (result r = refuse_captured(*what)) return r;
    if (!what->last || what->last->done) return current->broken;
    run_one(*what->last->stream);
    return current->broken ? current->broken : CUDA_ERROR_NOT_READY;
}

OUT result cuEventSynchronize(CUevent what) {
    ENTER(CONTEXT);
    if (result r = find_event(what)) return r;
    if (result r = refuse_captured(*what)) return r;
    all().counters.event_syncs++;
    if (!what->last) return CUDA_SUCCESS;
    result r = drain(*what->last->stream, what->last.get());
    give_back_unused(*what->device);
    return r;
}

OUT result cuEventElapsedTime_v2(float* milliseconds, CUevent from, CUevent to) {
    ENTER(CONTEXT);
    REQUIRE(!find_event(from) && !find_event(to), CUDA_ERROR_INVALID_HANDLE);
    REQUIRE(from->last && to->last && !((from->flags | to->flags) & CU_EVENT_DISABLE_TIMING), CUDA_ERROR_INVALID_HANDLE);
    REQUIRE(from->last->done && to->last->done, CUDA_ERROR_NOT_READY);
    *milliseconds = (float)((to->last->time - from->last->time) * 1e3);
    return CUDA_SUCCESS;
}

OUT result cuEventElapsedTime(float* milliseconds, CUevent from, CUevent to) { return cuEventElapsedTime_v2(milliseconds, from, to); }

}  // extern "C"
