# For building against the ROS 2 wheels of PyPI only; a ROS installation does not need this file.
#
# The wheels lay a ROS prefix over a Python environment. They leave AMENT_PREFIX_PATH unset, and their exported targets
# name include folders of the machine that built them, which CMake refuses. Both are put right here, so that
# CMakeLists.txt and package.xml stay those of any interface package:
#
#   cmake ... -DCMAKE_PROJECT_INCLUDE=wheels.cmake
find_package(ament_cmake_core REQUIRED)
get_filename_component(prefix "${ament_cmake_core_DIR}/../../.." ABSOLUTE)
set(ENV{AMENT_PREFIX_PATH} "${prefix}")
cmake_language(DEFER CALL drop_foreign_include_folders)

function(drop_foreign_include_folders)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(folders)
      list(FILTER folders EXCLUDE REGEX "^/opt/python/")
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
    endif()
  endforeach()
endfunction()
