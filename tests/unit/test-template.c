/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests are child processes here: each maps the file privately and reads and writes as told. */
#include <vmckpt/ram/template.h>

#include <vmckpt/util/fd.h>
#include <vmckpt/util/process.h>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 64
#define LENGTH ((gsize)PAGES * PAGE)
#define ZERO_FROM 48 /* from there on the checkpoint has zeros */
#define GUESTS 3

typedef struct {
  char name[8];
  pid_t pid;
  AutoFd socket;
  AutoFd uffd;
  guint64 address;
} FakeGuest;

typedef struct {
  char verb; /* 'r'ead, 'w'rite */
  guint64 page;
  guint64 value;
} Order;

/* ---- The child ---- */

static void
child_main (int socket, int memfd)
{
  guint8 *memory = mmap (NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, memfd, 0);
  int uffd = syscall (SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  guint64 address = (guint64)(guintptr)memory;
  Order order;

  if (memory == MAP_FAILED || uffd < 0 || !fd_send (socket, &address, sizeof address, uffd, NULL))
    _exit (1);
  while (read (socket, &order, sizeof order) == sizeof order) {
    guint64 *word = (guint64 *)(gpointer)(memory + order.page * PAGE);
    if (order.verb == 'w')
      *word = order.value;
    order.value = *(volatile guint64 *)word;
    if (write (socket, &order.value, sizeof order.value) != sizeof order.value)
      _exit (1);
  }
  _exit (0);
}

static void
guest_start (FakeGuest *guest, guint number, int memfd)
{
  g_autoptr (GError) error = NULL;
  struct timeval patience = { .tv_sec = 30 };
  int sockets[2];

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), ==, 0);
  g_snprintf (guest->name, sizeof guest->name, "g%u", number);
  guest->uffd = -1;
  guest->pid = fork();
  if (guest->pid == 0 && prctl (PR_SET_PDEATHSIG, SIGKILL) == 0)
    child_main (sockets[1], memfd);
  close (sockets[1]);
  guest->socket = sockets[0];
  setsockopt (guest->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  gssize len =
      fd_receive (guest->socket, &guest->address, sizeof guest->address, &guest->uffd, &error);
  g_assert_no_error (error);
  g_assert_cmpint (len, ==, sizeof guest->address);
}

static void
guest_end (FakeGuest *guest)
{
  kill (guest->pid, SIGKILL);
  waitpid (guest->pid, NULL, 0);
  fd_close (&guest->socket);
  fd_close (&guest->uffd);
}

static void
tell (FakeGuest *guest, char verb, guint64 page, guint64 value)
{
  Order order = { verb, page, value };
  g_assert_cmpint (write (guest->socket, &order, sizeof order), ==, sizeof order);
}

static guint64
answer (FakeGuest *guest)
{
  guint64 value;
  g_assert_cmpint (read (guest->socket, &value, sizeof value), ==, sizeof value);
  return value;
}

static guint64
look (FakeGuest *guest, guint64 page)
{
  tell (guest, 'r', page, 0);
  return answer (guest);
}

/* ---- The checkpoint ---- */

/* The pages that were asked for, in order; nobody puts them but the test. */
typedef struct {
  GMutex lock;
  GCond more;
  GArray *wanted;
} Requests;

static guint64
content (guint64 page)
{
  return page < ZERO_FROM ? 1000 + page : 0;
}

static gboolean
is_zero (guint64 page, gpointer user_data)
{
  return page >= ZERO_FROM;
}

static void
on_want (guint64 page, gpointer user_data)
{
  Requests *requests = user_data;

  g_mutex_lock (&requests->lock);
  g_array_append_val (requests->wanted, page);
  g_cond_broadcast (&requests->more);
  g_mutex_unlock (&requests->lock);
}

/* Waits until @count pages were asked for. */
static void
await (Requests *requests, guint count)
{
  gint64 deadline = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;

  g_mutex_lock (&requests->lock);
  while (requests->wanted->len < count)
    g_assert_true (g_cond_wait_until (&requests->more, &requests->lock, deadline));
  g_mutex_unlock (&requests->lock);
}

static void
put (Template *template, guint64 page)
{
  g_autoptr (GError) error = NULL;
  guint64 data[PAGE / 8] = { content (page) };

  template_put (template, page, (const guint8 *)data, &error);
  g_assert_no_error (error);
  template_wake (template, page, 1);
}

typedef struct {
  Requests requests;
  Template *template;
  FakeGuest guests[GUESTS];
} Fixture;

static Template *
make_template (Requests *requests, int memfd)
{
  g_autoptr (GError) error = NULL;
  TemplateSetup setup = {
    .memfd = memfd, .length = LENGTH, .is_zero = is_zero, .want = on_want, .user_data = requests
  };
  Template *template = template_new (&setup, &error);

  g_assert_no_error (error);
  return template;
}

static void
add_guests (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < GUESTS; i++) {
    FakeGuest *guest = &fixture->guests[i];
    template_add (fixture->template, guest->name, guest->uffd, guest->address, &error);
    g_assert_no_error (error);
  }
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_mutex_init (&fixture->requests.lock);
  g_cond_init (&fixture->requests.more);
  fixture->requests.wanted = g_array_new (FALSE, FALSE, sizeof (guint64));
  fixture->template = make_template (&fixture->requests, -1);
  for (guint i = 0; i < GUESTS; i++)
    guest_start (&fixture->guests[i], i, template_memfd (fixture->template));
  g_assert_true (template_is_untouched (fixture->template));
  add_guests (fixture);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < GUESTS; i++)
    guest_end (&fixture->guests[i]);
  template_free (fixture->template);
  g_array_unref (fixture->requests.wanted);
  g_mutex_clear (&fixture->requests.lock);
  g_cond_clear (&fixture->requests.more);
}

static guint64
pages_in_file (Template *template)
{
  struct stat file;

  g_assert_cmpint (fstat (template_memfd (template), &file), ==, 0);
  return file.st_blocks / (PAGE / 512);
}

/* ---- Tests ---- */

/* All that wait for a page get it from one put, and it is in memory once. */
static void
test_shared (Fixture *fixture, gconstpointer data)
{
  FakeGuest *guests = fixture->guests;

  for (guint i = 0; i < GUESTS; i++)
    tell (&guests[i], 'r', 7, 0);
  await (&fixture->requests, GUESTS);
  put (fixture->template, 7);
  for (guint i = 0; i < GUESTS; i++)
    g_assert_cmpuint (answer (&guests[i]), ==, content (7));
  g_assert_cmpuint (pages_in_file (fixture->template), ==, 1);
  /* What is there is not asked for again. */
  put (fixture->template, 8);
  put (fixture->template, 8);
  g_assert_cmpuint (look (&guests[0], 8), ==, content (8));
  g_assert_cmpuint (pages_in_file (fixture->template), ==, 2);
  g_assert_cmpuint (fixture->requests.wanted->len, ==, GUESTS);
}

/* What a guest writes is seen by nobody else, also when the write was its first touch. */
static void
test_private (Fixture *fixture, gconstpointer data)
{
  FakeGuest *guests = fixture->guests;
  guint64 page[PAGE / 8];

  tell (&guests[0], 'w', 3, 42);
  await (&fixture->requests, 1);
  put (fixture->template, 3);
  g_assert_cmpuint (answer (&guests[0]), ==, 42);
  g_assert_cmpuint (look (&guests[1], 3), ==, content (3));
  tell (&guests[1], 'w', 3, 43);
  g_assert_cmpuint (answer (&guests[1]), ==, 43);
  g_assert_cmpuint (look (&guests[0], 3), ==, 42);
  g_assert_cmpuint (look (&guests[2], 3), ==, content (3));
  g_assert_cmpint (pread (template_memfd (fixture->template), page, PAGE, 3 * PAGE), ==, PAGE);
  g_assert_cmpuint (page[0], ==, content (3));
}

/* Zeros cost nothing: neither in the file nor a question. */
static void
test_zeros (Fixture *fixture, gconstpointer data)
{
  FakeGuest *guests = fixture->guests;
  TemplateStats stats;

  for (guint i = 0; i < GUESTS; i++)
    g_assert_cmpuint (look (&guests[i], ZERO_FROM + 1), ==, 0);
  tell (&guests[0], 'w', ZERO_FROM + 1, 5);
  g_assert_cmpuint (answer (&guests[0]), ==, 5);
  tell (&guests[0], 'w', ZERO_FROM + 2, 6);
  g_assert_cmpuint (answer (&guests[0]), ==, 6);
  g_assert_cmpuint (look (&guests[1], ZERO_FROM + 1), ==, 0);
  g_assert_cmpuint (look (&guests[1], ZERO_FROM + 2), ==, 0);
  g_assert_true (template_is_untouched (fixture->template));
  template_stats (fixture->template, &stats);
  g_assert_cmpuint (stats.zeros, ==, GUESTS + 2);
  g_assert_cmpuint (fixture->requests.wanted->len, ==, 0);
}

/* A guest that dies, waiting or not, leaves the others. */
static void
test_one_dies (Fixture *fixture, gconstpointer data)
{
  FakeGuest *guests = fixture->guests;

  tell (&guests[0], 'r', 1, 0);
  tell (&guests[1], 'r', 1, 0);
  await (&fixture->requests, 2);
  kill (guests[0].pid, SIGKILL);
  waitpid (guests[0].pid, NULL, 0);
  put (fixture->template, 1);
  g_assert_cmpuint (answer (&guests[1]), ==, content (1));
  template_remove (fixture->template, "g0");
  tell (&guests[2], 'r', 2, 0);
  await (&fixture->requests, 3);
  put (fixture->template, 2);
  g_assert_cmpuint (answer (&guests[2]), ==, content (2));
}

static void
test_waiting (Fixture *fixture, gconstpointer data)
{
  tell (&fixture->guests[1], 'r', 9, 0);
  await (&fixture->requests, 1);

  g_autoptr (GArray) none = template_waiting (fixture->template, "g0");
  g_autoptr (GArray) one = template_waiting (fixture->template, "g1");
  g_assert_cmpuint (none->len, ==, 0);
  g_assert_cmpuint (one->len, ==, 1);
  g_assert_cmpuint (g_array_index (one, guint64, 0), ==, 9);
  put (fixture->template, 9);
  g_assert_cmpuint (answer (&fixture->guests[1]), ==, content (9));
  g_autoptr (GArray) served = template_waiting (fixture->template, "g1");
  g_assert_cmpuint (served->len, ==, 0);
}

/* Who served is gone in the middle: the guests wait, and a successor goes on from the file alone.
 */
static void
test_successor (Fixture *fixture, gconstpointer data)
{
  FakeGuest *guests = fixture->guests;
  int memfd = fcntl (template_memfd (fixture->template), F_DUPFD_CLOEXEC, 0);

  put (fixture->template, 4);
  tell (&guests[0], 'r', 5, 0);
  await (&fixture->requests, 1);
  template_free (fixture->template);
  tell (&guests[1], 'r', 6, 0);
  g_array_set_size (fixture->requests.wanted, 0);

  fixture->template = make_template (&fixture->requests, memfd);
  close (memfd);
  add_guests (fixture);
  /* Both ask (again), and page 4 is known to be there. */
  await (&fixture->requests, 2);
  put (fixture->template, 5);
  put (fixture->template, 6);
  g_assert_cmpuint (answer (&guests[0]), ==, content (5));
  g_assert_cmpuint (answer (&guests[1]), ==, content (6));
  g_assert_cmpuint (look (&guests[2], 4), ==, content (4));
  g_assert_cmpuint (fixture->requests.wanted->len, ==, 2);
}

/* With all there, the guests need nobody. */
static void
test_release (Fixture *fixture, gconstpointer data)
{
  FakeGuest *guests = fixture->guests;

  tell (&guests[0], 'r', 0, 0);
  await (&fixture->requests, 1);
  for (guint64 page = 0; page < ZERO_FROM; page++)
    put (fixture->template, page);
  template_release (fixture->template);
  template_free (g_steal_pointer (&fixture->template));
  g_assert_cmpuint (answer (&guests[0]), ==, content (0));
  for (guint i = 0; i < GUESTS; i++)
    for (guint64 page = 0; page < PAGES; page++)
      g_assert_cmpuint (look (&guests[i], page), ==, content (page));
}

/* It is seen if somebody wrote before the first guest was registered. */
static void
test_touched (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Template) other = make_template (&fixture->requests, -1);
  FakeGuest guest;

  guest_start (&guest, 9, template_memfd (other));
  g_assert_true (template_is_untouched (other));
  tell (&guest, 'w', 0, 1);
  answer (&guest);
  g_assert_false (template_is_untouched (other));
  guest_end (&guest);
}

int
main (int argc, char **argv)
{
  int probe = syscall (SYS_userfaultfd, O_CLOEXEC);

  g_test_init (&argc, &argv, NULL);
  if (probe < 0) {
    g_print ("1..0 # SKIP userfaultfd is not to be had here\n");
    return 0;
  }
  close (probe);
#define ADD(name, func) g_test_add ("/template/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("shared", test_shared);
  ADD ("private", test_private);
  ADD ("zeros", test_zeros);
  ADD ("one-dies", test_one_dies);
  ADD ("waiting", test_waiting);
  ADD ("successor", test_successor);
  ADD ("release", test_release);
  ADD ("touched", test_touched);
  return g_test_run();
}
