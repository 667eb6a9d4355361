"""The validate room: is the prepared data what it is meant to be?"""
