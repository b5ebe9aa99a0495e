// Who but this process may use a file that holds a secret: a key, a ticket secret.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace sallyport::ktls {

/// The name of a user; its number where the user database has none. Control thread only
/// (getpwuid(3)).
[[nodiscard]] std::string user_name(uid_t user);

/// What breaks the rules of key files, of the open descriptor of a regular file: it belongs to root
/// or to this user; the world may do nothing with it; a group may not write it, and read it only if
/// it is a group of this process; entries of a POSIX ACL give users and groups no more than that.
/// Nothing where all is well. Control thread only (getgrgid(3)).
[[nodiscard]] std::optional<std::string> key_file_fault(int descriptor);

/// What breaks the rules of the directories in which `file` lies, as named and where its links
/// lead: in one that the world may write, without the sticky bit, any user may put another file in
/// its place.
[[nodiscard]] std::optional<std::string> key_directory_fault(const std::string& file);

/// Who else may read a file that key_file_fault() passes: one text for each group, with the number
/// of its other members. Nothing where none may, or the file is refused.
[[nodiscard]] std::optional<std::string> key_file_readers(const std::string& file);

}  // namespace sallyport::ktls
