"""A repository and a revision -> the manifests of that commit, read from git's objects. Edge."""
