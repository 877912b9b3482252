// The first index out of range of a check site: by task, numbered through all nests, then by order in the task.
struct tw_status { i64 index, bound, task, order; u32 lock, pad; };

TW_DEVICE void tw_offence(const tw_run& run, tw_status* at, i64 task, i64 order, i64 index, i64 bound) {
    bool done = false;
    while (!done) {
        if (atomicCAS(&at->lock, 0u, 1u) == 0u) {
            __threadfence();
            volatile tw_status* s = at;
            if (task < s->task || (task == s->task && order < s->order)) {
                s->index = index; s->bound = bound; s->task = task; s->order = order;
            }
            __threadfence();
            atomicExch(&at->lock, 0u);
            *(volatile u32*)run.failed = run.launch;
            done = true;
        }
    }
}
