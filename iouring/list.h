#pragma once
// Intrusive doubly linked list: the node lives in the object, so that linking never allocates and
// an object can leave its list without knowing which list it is in.
#include <cstddef>
#include <utility>

#include "iouring/invariant.h"

namespace sallyport::iouring {

class ListNode {
 public:
  ListNode() noexcept = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { invariant(!linked(), "a list node is unlinked before it is destroyed"); }

  [[nodiscard]] bool linked() const noexcept { return next_ != nullptr; }

  /// Leaves the list, if any.
  void unlink() noexcept {
    if (!linked()) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  template <class T>
  friend class List;
  ListNode* prev_ = nullptr;
  ListNode* next_ = nullptr;
};

/// A list of T, which derives from ListNode. Owns nothing.
template <class T>
class List {
 public:
  List() noexcept { head_.prev_ = head_.next_ = &head_; }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List() {
    while (!empty()) pop_front();
    head_.prev_ = head_.next_ = nullptr;
  }

  [[nodiscard]] bool empty() const noexcept { return head_.next_ == &head_; }
  [[nodiscard]] T& front() noexcept { return *static_cast<T*>(head_.next_); }
  [[nodiscard]] T& back() noexcept { return *static_cast<T*>(head_.prev_); }

  /// The one behind `item`, which is in this list; null behind the last.
  [[nodiscard]] T* next(T& item) noexcept {
    ListNode* const node = static_cast<ListNode&>(item).next_;
    return node == &head_ ? nullptr : static_cast<T*>(node);
  }

  void push_back(T& item) noexcept { insert(item, *head_.prev_); }
  void push_front(T& item) noexcept { insert(item, head_); }

  T& pop_front() noexcept {
    T& item = front();
    static_cast<ListNode&>(item).unlink();
    return item;
  }

  /// Moves everything from `other` behind what is here.
  void splice_back(List& other) noexcept {
    if (other.empty()) return;
    ListNode* first = other.head_.next_;
    ListNode* last = other.head_.prev_;
    other.head_.prev_ = other.head_.next_ = &other.head_;
    first->prev_ = head_.prev_;
    head_.prev_->next_ = first;
    last->next_ = &head_;
    head_.prev_ = last;
  }

 private:
  static void insert(ListNode& node, ListNode& after) noexcept {
    invariant(!node.linked(), "a list node is in one list at a time");
    node.prev_ = &after;
    node.next_ = after.next_;
    after.next_->prev_ = &node;
    after.next_ = &node;
  }

  ListNode head_;
};

}  // namespace sallyport::iouring
