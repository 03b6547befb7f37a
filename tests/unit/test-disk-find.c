/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is made of QEMU's answers about its drives, also of such as no QEMU gives. */
#include <vmckpt/disk/disk-find.h>

#include "fake-peer.h"

#include <string.h>

/* What a QEMU answers that has one drive, "disk0" behind a virtio device, with these differences
 * (nullable). */
typedef struct {
  const char *block, *nodes, *jobs, *iothreads, *graph;
} Answers;

#define NODE(name, driver) "{\"node-name\": \"" name "\", \"drv\": \"" driver "\"}"
#define DRIVE(top)                                                                                 \
  "[{\"device\": \"\", \"qdev\": \"/machine/peripheral/vd0/virtio-backend\","                      \
  " \"removable\": false, \"inserted\": {\"node-name\": \"" top "\"}}]"
#define DISK0                                                                                      \
  "{\"node-name\": \"disk0\", \"drv\": \"qcow2\", \"ro\": true, \"image\": {\"filename\": \"/i\"," \
  " \"virtual-size\": 8388608}, \"dirty-bitmaps\": [1, {\"name\": \"vmckpt-acc\", \"busy\": true," \
  " \"recording\": true, \"inconsistent\": false, \"granularity\": 65536, \"count\": 131072}]}"
#define VERTEX(id, type, name) "{\"id\": " #id ", \"type\": \"" type "\", \"name\": \"" name "\"}"
#define EDGE(parent, child, role)                                                                  \
  "{\"parent\": " #parent ", \"child\": " #child ", \"name\": \"" role "\"}"
#define GRAPH(nodes, edges) "{\"nodes\": [" nodes "], \"edges\": [" edges "]}"
#define DISK0_ALONE VERTEX (1, "block-driver", "disk0")

static const Answers usual = {
  DRIVE ("disk0"), "[" DISK0 "]", "[]", "[]", GRAPH (DISK0_ALONE, ""),
};

static const char *
answer_to (const Answers *answers, const char *command)
{
  const struct {
    const char *command, *answer, *otherwise;
  } table[] = {
    { "query-block", answers->block, usual.block },
    { "query-named-block-nodes", answers->nodes, usual.nodes },
    { "query-block-jobs", answers->jobs, usual.jobs },
    { "query-iothreads", answers->iothreads, usual.iothreads },
    { "x-debug-query-block-graph", answers->graph, usual.graph },
  };

  for (guint i = 0; i < G_N_ELEMENTS (table); i++)
    if (g_str_equal (table[i].command, command))
      return table[i].answer != NULL ? table[i].answer : table[i].otherwise;
  g_error ("'%s' does not ask for drives", command);
}

/* @data: Answers to the first round of questions, to the second, … */
static void
serve (FakePeer *peer, gpointer data)
{
  const Answers *const *rounds = data;

  fake_peer_greet (peer, FALSE);
  for (guint i = 0;; i++) {
    g_autoptr (JsonObject) message = fake_peer_read (peer);
    if (message == NULL)
      return;
    fake_peer_answer (
        peer, json_object_get_int_member (message, "id"),
        answer_to (rounds[i / 5], json_object_get_string_member (message, "execute")));
  }
}

/* The drives that such answers tell of; NULL with @error. */
static GPtrArray *
find (const Answers *answers, GError **error)
{
  const Answers *rounds[] = { answers };
  g_autoptr (FakePeer) peer = NULL;
  int fd;

  peer = fake_peer_start (serve, rounds, &fd);
  g_autoptr (QmpClient) client = qmp_client_new_for_fd (fd, 30000, NULL);
  g_assert_nonnull (client);
  return disk_find (client, error);
}

static GPtrArray *
find_one (const Answers *answers)
{
  g_autoptr (GError) error = NULL;
  GPtrArray *drives = find (answers, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (drives->len, ==, 1);
  return drives;
}

static void
test_all_that_is_told (void)
{
  g_autoptr (GPtrArray) drives = find_one (&usual);
  const GuestDrive *drive = drives->pdata[0];

  g_assert_cmpstr (drive->qdev, ==, "/machine/peripheral/vd0/virtio-backend");
  g_assert_null (drive->device);
  g_assert_cmpstr (drive->node, ==, "disk0");
  g_assert_cmpstr (drive->format, ==, "qcow2");
  g_assert_cmpstr (drive->filename, ==, "/i");
  g_assert_cmpuint (drive->size, ==, 8388608);
  g_assert_true (drive->inserted && drive->read_only);
  g_assert_false (drive->removable || drive->iothread || drive->filtered);
  g_assert_null (drive->busy);
  g_assert_true (drive->collect.there && drive->collect.recording && drive->collect.busy);
  g_assert_false (drive->collect.inconsistent);
  g_assert_cmpuint (drive->collect.granularity, ==, 65536);
  g_assert_cmpuint (drive->collect.count, ==, 131072);
  g_assert_false (drive->instant.there);
}

static void
test_found_by_any_of_its_names (void)
{
  g_autoptr (GPtrArray) drives = find_one (&usual);

  g_assert_nonnull (disk_find_drive (drives, "disk0"));
  g_assert_nonnull (disk_find_drive (drives, "vd0"));
  g_assert_nonnull (disk_find_drive (drives, "/machine/peripheral/vd0/virtio-backend"));
  g_assert_null (disk_find_drive (drives, "vd"));
  g_assert_null (disk_find_drive (drives, "vd00"));
  g_assert_null (disk_find_drive (drives, ""));
}

#define FILTER(name) VERTEX (2, "block-driver", name)

/* The user's node below what we, or somebody else's job, have put above it. */
static void
test_below_filters (void)
{
  g_autoptr (GPtrArray) ours = find_one (
      &(Answers){ .block = DRIVE ("vmckpt-f0"),
                  .nodes = "[" NODE ("vmckpt-f0", "copy-before-write") "," DISK0 "]",
                  .graph = GRAPH (DISK0_ALONE "," FILTER ("vmckpt-f0"), EDGE (2, 1, "file")) });
  g_autoptr (GPtrArray) other = find_one (
      &(Answers){ .block = DRIVE ("#block7"),
                  .nodes = "[" NODE ("#block7", "mirror_top") "," DISK0 "]",
                  .graph = GRAPH (DISK0_ALONE "," FILTER ("#block7"), EDGE (2, 1, "backing")) });
  const GuestDrive *drive = ours->pdata[0], *foreign = other->pdata[0];

  g_assert_cmpstr (drive->node, ==, "disk0");
  g_assert_true (drive->filtered);
  g_assert_null (drive->busy);
  g_assert_cmpstr (foreign->node, ==, "disk0");
  g_assert_false (foreign->filtered);
  g_assert_nonnull (foreign->busy);
  g_assert_nonnull (strstr (foreign->busy, "#block7"));
}

/* No QEMU has them: they must not keep a checkpoint for ever. */
static void
test_filters_in_a_circle_end (void)
{
  g_autoptr (GPtrArray) drives =
      find_one (&(Answers){ .block = DRIVE ("vmckpt-f0"),
                            .nodes = "[" NODE ("vmckpt-f0", "copy-before-write") "," DISK0 "]",
                            .graph = GRAPH (FILTER ("vmckpt-f0"), EDGE (2, 2, "file")) });

  g_assert_cmpuint (((GuestDrive *)drives->pdata[0])->size, ==, 0); /* nobody captures that */
}

#define JOB                                                                                        \
  "[{\"device\": \"j7\", \"type\": \"stream\"}]", NULL,                                            \
      GRAPH (DISK0_ALONE "," VERTEX (9, "block-job", "j7"), EDGE (9, 1, "main node"))

static void
test_waits_for_others_jobs (void)
{
  static const Answers working = { NULL, NULL, JOB };
  const Answers *rounds[] = { &working, &working, &usual, &usual };
  g_autoptr (FakePeer) peer = NULL;
  g_autoptr (GError) busy = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) cancelled = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  int fd;

  peer = fake_peer_start (serve, rounds, &fd);
  g_autoptr (QmpClient) client = qmp_client_new_for_fd (fd, 30000, NULL);
  g_assert_false (disk_wait_idle (client, "disk0", -1, NULL, &busy));
  g_assert_error (busy, DISK_ERROR, DISK_ERROR_BUSY);
  g_assert_nonnull (strstr (busy->message, "'j7' (stream)"));
  g_assert_true (disk_wait_idle (client, "disk0", 30000, NULL, &error)); /* the job ends */
  g_assert_no_error (error);
  g_cancellable_cancel (cancellable);
  g_assert_false (disk_wait_idle (client, "disk0", 30000, cancellable, &cancelled));
  g_assert_error (cancelled, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
test_odd_answers (void)
{
  static const Answers bad[] = {
    { .block = "{}" },     { .nodes = "7" },  { .jobs = "\"none\"" },
    { .iothreads = "{}" }, { .graph = "[]" }, { .graph = "{\"nodes\": 1}" },
  };
  /* A drive of which nothing useful is told is there, and is not captured. */
  static const Answers odd[] = {
    { .block = "[1, [], {\"inserted\": 1, \"qdev\": 7, \"removable\": \"yes\"}]" },
    { .block = "[{\"inserted\": {\"node-name\": {}}}]" },
    { .nodes = "[1, {}, {\"node-name\": 7}]" },
    { .nodes = "[{\"node-name\": \"disk0\", \"drv\": 1, \"image\": []}]" },
    { .nodes = "[{\"node-name\": \"disk0\", \"image\": {\"virtual-size\": -1},"
               " \"dirty-bitmaps\": {}}]" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (find (&bad[i], &error));
    g_assert_error (error, DISK_ERROR, DISK_ERROR_FAILED);
  }
  for (guint i = 0; i < G_N_ELEMENTS (odd); i++) {
    g_autoptr (GPtrArray) drives = find_one (&odd[i]);
    const GuestDrive *drive = drives->pdata[0];
    g_assert_cmpuint (drive->size, ==, 0);
    g_assert_null (drive->format);
    g_assert_false (drive->collect.there || drive->removable);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/disk-find/told", test_all_that_is_told);
  g_test_add_func ("/disk-find/names", test_found_by_any_of_its_names);
  g_test_add_func ("/disk-find/below-filters", test_below_filters);
  g_test_add_func ("/disk-find/circle", test_filters_in_a_circle_end);
  g_test_add_func ("/disk-find/waits", test_waits_for_others_jobs);
  g_test_add_func ("/disk-find/odd-answers", test_odd_answers);
  return g_test_run();
}
