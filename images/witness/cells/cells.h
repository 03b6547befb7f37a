/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every cell type; what each holds is told beside its definition. */
#ifndef WITNESS_CELLS_H
#define WITNESS_CELLS_H

#include "../witness.h"

extern const CellType cell_pipe, cell_fifo, cell_pty;
extern const CellType cell_sysv_shm, cell_sysv_sem, cell_sysv_msg;
extern const CellType cell_posix_shm, cell_posix_sem, cell_posix_mq;
extern const CellType cell_unix_stream, cell_unix_dgram, cell_unix_rights;
extern const CellType cell_tcp, cell_tcp_backlog;
extern const CellType cell_epoll, cell_eventfd, cell_inotify;
extern const CellType cell_timerfd, cell_itimer, cell_posix_timer;
extern const CellType cell_signalfd, cell_signal_pending, cell_signal_blocked;
extern const CellType cell_futex_shared, cell_futex_robust;
extern const CellType cell_deleted_file, cell_mmap_shared, cell_mmap_private;
extern const CellType cell_tree, cell_zombie, cell_stopped;
extern const CellType cell_lock_posix, cell_lock_ofd, cell_lock_flock;
extern const CellType cell_x87, cell_sse, cell_avx;
extern const CellType cell_ptrace, cell_userns, cell_threads;
extern const CellType cell_disk_blocks, cell_disk_journal, cell_disk_order; /* not in the table */

#endif
